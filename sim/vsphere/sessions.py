# SPDX-License-Identifier: Apache-2.0
"""Accounts with their privileges, SOAP sessions, and the one-time tickets for hosts."""
import dataclasses
import secrets
import threading
import uuid

from .tasks import utc
from .vimfault import VimFault
from .vimtypes import Data

ALWAYS = {"-", "System.Anonymous", "System.View", "System.Read"}
# What RetrieveServiceContent's user of old called roles; the list that FetchUserPrivilegeOnEntities answers for "all".
KNOWN_PRIVILEGES = """System.Anonymous System.Read System.View Sessions.ValidateSession Sessions.TerminateSession
Datastore.Browse Datastore.FileManagement Datastore.AllocateSpace Global.DisableMethods Global.EnableMethods
Global.Licenses VirtualMachine.Config.ChangeTracking VirtualMachine.Config.DiskLease
VirtualMachine.Config.AddExistingDisk VirtualMachine.Config.RemoveDisk VirtualMachine.Config.Settings
VirtualMachine.Provisioning.DiskRandomRead VirtualMachine.Provisioning.DiskRandomAccess
VirtualMachine.Provisioning.GetVmFiles VirtualMachine.State.CreateSnapshot VirtualMachine.State.RemoveSnapshot
VirtualMachine.State.RenameSnapshot VirtualMachine.State.RevertToSnapshot VirtualMachine.Interact.PowerOff
VirtualMachine.Interact.PowerOn VirtualMachine.GuestOperations.Query VirtualMachine.GuestOperations.Modify
VirtualMachine.GuestOperations.Execute VirtualMachine.Inventory.Delete Cryptographer.Access
Cryptographer.Decrypt""".split()


class Account:
    def __init__(self, settings):
        self.username, self.password = settings["username"], settings["password"]
        self.privileges, self.deny, self.deny_on = settings["privileges"], set(settings["deny"]), settings["deny_on"]

    def may(self, privilege, entity=None):
        if privilege in self.deny or (entity is not None and privilege in self.deny_on.get(entity.name, ())):
            return False
        if privilege in ALWAYS or self.privileges == "all":
            return True
        return self.privileges != "readonly" and privilege in self.privileges

    def listing(self, entity=None):
        return [p for p in KNOWN_PRIVILEGES if self.may(p, entity)]


class Session:
    def __init__(self, account, now):
        self.account = account
        self.cookie = secrets.token_hex(20)
        self.key = "52" + str(uuid.uuid4())[2:]
        self.login_time = self.last_active = now
        self.collectors = {}                # what this session's property collectors hold: moref -> filters, tokens
        self.views = set()

    def data(self):
        return Data("UserSession", key=self.key, userName=self.account.username, fullName=self.account.username,
                    loginTime=utc(self.login_time), lastActiveTime=utc(self.last_active), locale="en",
                    messageLocale="en", extensionSession=False, ipAddress="127.0.0.1", userAgent="", callCount=0)


class Sessions:
    def __init__(self, world, counters):
        self._world, self._counters = world, counters
        self._lock = threading.Lock()
        self._by_cookie = {}
        self._thread = threading.local()
        self.accounts = [Account(a) for a in world.config["accounts"]]

    def account(self, username):
        return next((a for a in self.accounts if a.username == username), None)

    def check_password(self, username, password):
        account = self.account(username)
        if account is None or account.password != password:
            self._counters.add("logins_failed")
            raise VimFault("InvalidLogin")
        return account

    def login(self, username, password):
        account = self.check_password(username, password)
        session = Session(account, self._world.clock.now())
        with self._lock:
            self._by_cookie[session.cookie] = session
        self._counters.add("logins")
        return session

    def find(self, cookie, renew=True):
        """The live session of a cookie, or None; counts as activity."""
        now = self._world.clock.now()
        with self._lock:
            session = self._by_cookie.get(cookie)
            if session is None:
                return None
            if now - session.last_active <= self._world.config["session_idle_seconds"]:
                if renew:
                    session.last_active = now
                return session
        self.end(session)
        return None

    def serve(self, session):
        """From now on this thread works for that session (or None); for SessionManager.currentSession."""
        self._thread.session = session

    def served(self):
        return self._thread.session

    def by_key(self, key):
        with self._lock:
            return next((s for s in self._by_cookie.values() if s.key == key), None)

    def end(self, session):
        """Its views and filters go too, after the lock: World.lock is never taken under it."""
        with self._lock:
            self._by_cookie.pop(session.cookie, None)
        for view in list(session.views):
            self._world.remove(view)

    def end_all(self):
        for session in list(self._by_cookie.values()):
            self.end(session)

    def count(self):
        return len(self._by_cookie)


@dataclasses.dataclass
class Ticket:
    """Right to one connection to a host's authd, for files of one VM."""
    id: str
    vm: object
    host: object
    writable: bool
    issued: float


class Tickets:
    """Tickets of the NFC service; burnt when they are presented."""

    def __init__(self, world, counters):
        self._world, self._counters = world, counters
        self._lock = threading.Lock()
        self._nfc, self._http = {}, {}

    def issue(self, vm, host, writable):
        ticket = Ticket("52" + str(uuid.uuid4())[2:], vm, host, writable, self._world.clock.now())
        with self._lock:
            self._nfc[ticket.id] = ticket
        self._counters.add("tickets_issued")
        return ticket

    def burn(self, ticket_id, host):
        """The ticket, once, in time, on the host it is for; else None."""
        with self._lock:
            ticket = self._nfc.pop(ticket_id, None)
        if ticket is None or ticket.host is not host:
            return None
        if self._world.clock.now() - ticket.issued > self._world.config["nfc"]["ticket_seconds"]:
            return None
        self._counters.add("tickets_used")
        return ticket

    def issue_http(self, account, url, method):
        ticket_id = str(uuid.uuid4())
        with self._lock:
            self._http[ticket_id] = (account, url, method, self._world.clock.now())
        return ticket_id

    def http_account(self, ticket_id, method):
        """The account of a /folder ticket; such a ticket holds for all requests of its method until it is old."""
        entry = self._http.get(ticket_id)
        if entry is None or self._world.clock.now() - entry[3] > 3600 or entry[2] != method:
            return None
        return entry[0]

    def drop_all(self):
        with self._lock:
            self._nfc.clear()
            self._http.clear()
