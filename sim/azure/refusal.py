# SPDX-License-Identifier: Apache-2.0
"""An answer that says no, in the form every Azure service uses: {"error": {"code", "message", "target", "details"}}."""


class Refusal(Exception):
    """Raised by a handler; the server makes the answer of it. An operation that meets one ends as Failed."""

    def __init__(self, status, code, message, target=None, details=None, headers=None):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.target = status, code, message, target
        self.details, self.headers = details or [], headers or {}

    def error(self):
        error = {"code": self.code, "message": self.message}
        if self.target:
            error["target"] = self.target
        if self.details:
            error["details"] = self.details
        return error

    def body(self):
        return {"error": self.error()}


def not_simulated(what):
    """What Azure has and this simulator has not: said as such, never guessed."""
    return Refusal(501, "NotSimulated", f"The simulator does not do this: {what}.")


def not_found(resource_id, group=None):
    where = f" under resource group '{group}'" if group else ""
    tail = resource_id.split("/providers/")[-1]
    return Refusal(404, "ResourceNotFound", f"The Resource '{tail}'{where} was not found. For more details please go "
                                            "to https://aka.ms/ARMResourceNotFoundFix")


def invalid(message, target=None):
    return Refusal(400, "InvalidParameter", message, target)


def conflict(code, message, target=None):
    return Refusal(409, code, message, target)
