# SPDX-License-Identifier: Apache-2.0
"""Who may do what where: role assignments of the configuration, checked before each handler and shown as the
permissions API shows them."""
import re
import threading

from .refusal import Refusal
from .server import Answer, Routes

VERSIONS = ("2022-04-01", "2018-07-01", "2015-07-01")
EVERYTHING = {"scope": "/", "actions": ["*"], "notActions": []}
routes = Routes()


def _matches(pattern, action):
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), action, re.IGNORECASE) is not None


def _covers(scope, where):
    scope, where = scope.rstrip("/").lower(), where.rstrip("/").lower()
    return where == scope or where.startswith(scope + "/")


class Roles:
    def __init__(self, clients):
        self._lock = threading.Lock()
        self._roles = {client["object_id"]: client["roles"] for client in clients}

    def set(self, object_id, roles):
        with self._lock:
            self._roles[object_id] = [{"actions": [], "notActions": [], "scope": "/", **role} for role in roles]

    def at(self, caller, where):
        """A caller that the configuration does not know (another issuer's) may do everything."""
        with self._lock:
            roles = self._roles.get(caller.get("oid") or caller.get("sub"), [EVERYTHING])
        return [role for role in roles if _covers(role["scope"], where)]

    def allows(self, caller, action, where):
        return any(any(_matches(p, action) for p in role["actions"]) and
                   not any(_matches(p, action) for p in role["notActions"]) for role in self.at(caller, where))

    def check(self, caller, action, where, linked_to=None):
        """linked_to: (action, scope) of the request that needs this one too."""
        if self.allows(caller, action, where):
            return
        who = (f"The client '{caller.get('appid', caller.get('client_id', ''))}' with object id "
               f"'{caller.get('oid', caller.get('sub', ''))}'")
        if linked_to:
            raise Refusal(403, "LinkedAuthorizationFailed", f"{who} has permission to perform action '{linked_to[0]}' "
                                                            f"on scope '{linked_to[1]}'; however, it does not have "
                                                            f"permission to perform action(s) '{action}' on the linked "
                                                            f"scope(s) '{where}' (respectively) or the linked scope(s) "
                                                            "are invalid.")
        raise Refusal(403, "AuthorizationFailed", f"{who} does not have authorization to perform action '{action}' "
                                                  f"over scope '{where}' or the scope is invalid. If access was "
                                                  "recently granted, please refresh your credentials.")


@routes.on("GET", "/**/providers/Microsoft.Authorization/permissions", versions=VERSIONS)
def permissions(request):
    where = "/" + request.params["scope"]
    if not re.fullmatch(rf"/subscriptions/{request.lab.config['subscription']}(/.*)?", where, re.IGNORECASE):
        raise Refusal(404, "SubscriptionNotFound", f"The subscription of '{where}' could not be found.")
    request.lab.world.check_scope(where)
    return Answer(200, {"value": [{"actions": role["actions"], "notActions": role["notActions"], "dataActions": [],
                                   "notDataActions": []} for role in request.lab.roles.at(request.caller, where)]})
