# SPDX-License-Identifier: Apache-2.0
"""Switches for everything that can go wrong. Code asks strikes(name, ...) where a fault can happen; nothing else here
knows what the fault does. sim/README.md lists them for users."""
import random
import threading

# name: (own parameters with defaults, what happens)
FAULTS = {
    "cbt.omit_areas": ({"fraction": 0.5}, "part of the changed areas is not reported"),
    "cbt.silent_reset": ({}, "tracking forgets earlier changes under the same UUID"),
    "cbt.empty_pages": ({"page_bytes": 1 << 20}, "windows without areas in the middle of the disk"),
    "cbt.small_pages": ({"areas": 3}, "pages of so many areas"),
    "cbt.past_capacity": ({}, "the last page and an area in it reach past the capacity"),
    "cbt.overlap": ({}, "areas overlap"),
    "cbt.unsorted": ({}, "areas are out of order"),
    "cbt.truncate": ({}, "a page of length 0"),
    "cbt.start_offset_fault": ({}, "InvalidArgument startOffset"),
    "cbt.file_fault": ({}, "FileFault"),
    "snapshot.stuck_95": ({"seconds": 3600}, "the create task stays at 95 %"),
    "snapshot.create_fails": ({"fault": "GenericVmConfigFault"}, "the create task ends in this fault"),
    "snapshot.quiesce_fails": ({}, "a quiesced snapshot ends in ApplicationQuiesceFault"),
    "snapshot.quiesce_ignored": ({}, "the snapshot is made, but not quiesced"),
    "snapshot.no_change_id": ({}, "the snapshot's disks have no changeId"),
    "snapshot.remove_fails": ({"fault": "GenericVmConfigFault"}, "the remove task ends in this fault, nothing is removed"),
    "snapshot.leaves_consolidation": ({}, "the snapshot goes, its links stay"),
    "consolidate.fails": ({"fault": "FileLocked"}, "the consolidate task ends in this fault"),
    "soap.session_expired": ({}, "NotAuthenticated, the session is gone"),
    "soap.503": ({}, "HTTP 503"),
    "soap.cut": ({}, "the connection is cut in the middle of the answer"),
    "soap.slow": ({"ms": 1000}, "the answer is late"),
    "soap.method_fault": ({"fault": "SystemError"}, "the method fails"),
    "nfc.out_of_memory": ({}, "ERROR: Failed to allocate"),
    "nfc.cut": ({"after_bytes": 0, "where": "data"}, "connection cut after so many data bytes"),
    "nfc.stall": ({"ms": 3600000}, "no answer for so long"),
    "nfc.bad_magic": ({}, "a wrong magic in a read's answer"),
    "nfc.duplicate_fragment": ({}, "a fragment comes twice"),
    "nfc.length_overflow": ({}, "a fragment reaches past the request"),
    "nfc.foreign_opid": ({}, "an answer to a request never made"),
    "nfc.unknown_type": ({}, "a message of an unknown type before the answer"),
    "nfc.error_mid_read": ({}, "ERROR after the first fragment"),
    "nfc.zero_fragment": ({}, "a fragment of length 0"),
    "nfc.bad_packed": ({}, "a compressed fragment that does not decode to its length"),
    "nfc.corrupt_data": ({}, "one byte of a fragment differs"),
    "nfc.tiny_writes": ({}, "answers leave in pieces of 1 to 7 bytes"),
    "nfc.slow": ({"ms": 100}, "each read waits"),
    "nfc.refuse_open": ({}, "OPEN_FILE answered with ERROR"),
    "authd.wrong_thumbprint": ({}, "tickets carry another SHA-1"),
    "authd.wrong_certificate": ({}, "TLS#1 shows another certificate"),
    "authd.tls2_other_certificate": ({}, "TLS#2 shows another certificate"),
    "authd.expired_ticket": ({}, "the ticket counts as expired"),
    "authd.busy": ({}, "a 5xx line instead of the greeting"),
    "folder.error": ({"status": 500}, "HTTP error"),
    "folder.cut": ({"after_bytes": 65536}, "connection cut after so many bytes"),
    "folder.no_ranges": ({}, "the whole file with status 200"),
    "folder.slow": ({"ms": 100}, "each request waits"),
    "datastore.slow": ({"ms": 50}, "each read of every lane waits"),
}
COMMON = {"on": True, "count": None, "probability": 1.0, "after": 0, "vm": None, "method": None, "host": None}


class Faults:
    def __init__(self, seed):
        self._lock = threading.Lock()
        self._dice = random.Random(seed)
        self._active = {}
        self._struck = {name: 0 for name in FAULTS}

    def switch(self, request):
        """Switch one fault on or off as POST /faults asks; ValueError tells what is wrong with the request."""
        given = dict(request)
        name = given.pop("name", None)
        if name not in FAULTS:
            raise ValueError(f"no fault '{name}'; known: {', '.join(sorted(FAULTS))}")
        known = {**COMMON, **FAULTS[name][0]}
        unknown = set(given) - set(known)
        if unknown:
            raise ValueError(f"{name}: unknown {sorted(unknown)}; known: {sorted(known)}")
        with self._lock:
            self._active.pop(name, None)
            if given.get("on", True):
                self._active[name] = {**known, **given}

    def clear(self):
        with self._lock:
            self._active.clear()

    def strikes(self, name, vm=None, method=None, host=None):
        """The parameters of the fault when it happens here and now, else None."""
        if name not in self._active:        # the ordinary case, without the lock
            return None
        with self._lock:
            fault = self._active.get(name)
            if fault is None:
                return None
            for key, entity in (("vm", vm), ("host", host)):
                if fault[key] is not None and (entity is None or fault[key] not in (entity.name, entity.moref)):
                    return None
            if fault["method"] is not None and fault["method"] != method:
                return None
            if fault["after"] > 0:
                fault["after"] -= 1
                return None
            if fault["probability"] < 1 and self._dice.random() >= fault["probability"]:
                return None
            if fault["count"] is not None:
                fault["count"] -= 1
                if fault["count"] <= 0:
                    del self._active[name]
            self._struck[name] += 1
            return fault

    def listing(self):
        with self._lock:
            return [{"name": name, "meaning": meaning, "parameters": parameters, "on": name in self._active,
                     "struck": self._struck[name]} for name, (parameters, meaning) in FAULTS.items()]
