# SPDX-License-Identifier: Apache-2.0
"""SOAP requests to calls, results and faults to SOAP answers. What a method does is in methods*.py.

Handlers register with @method(name); each gets a Call and returns a value of the method's result type, or Raw XML.
"""
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

from .vimfault import VimFault, by_name, not_found
from .vimtypes import TABLE, Malformed, decode, decode_fields, encode, local_name, scalar_text

ENVELOPE = ('<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope '
            'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" '
            'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
            '<soapenv:Body>\n%s\n</soapenv:Body>\n</soapenv:Envelope>')
HANDLERS = {}
WITHOUT_SESSION = {"RetrieveServiceContent", "Login", "RetrieveInternalContent"}
MAX_REQUEST_BYTES = 16 << 20


class Raw(NamedTuple):
    """Already encoded children of the response element."""
    xml: str


class Call:
    """One request: lab, this (the entity), args, session, username; set_cookie for Login."""

    def __init__(self, lab, method, namespace):
        self.lab, self.world, self.method, self.namespace = lab, lab.world, method, namespace
        self.this, self.args, self.session, self.set_cookie = None, {}, None, None

    @property
    def account(self):
        return self.session.account

    def require(self, privilege, entity):
        if not self.account.may(privilege, entity):
            raise VimFault("NoPermission", object=entity.ref, privilegeId=privilege)


def method(name):
    def register(handler):
        HANDLERS[name] = handler
        return handler
    return register


def _parse(body):
    """(method name, namespace, element) of an envelope."""
    try:
        envelope = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise Malformed(f"the request is no XML: {error}") from None
    inner = next((child for child in envelope if local_name(child.tag) == "Body"), None)
    if inner is None or len(inner) != 1:
        raise Malformed("the envelope has no body with one element")
    tag = inner[0].tag
    return local_name(tag), tag[1:].split("}")[0] if tag.startswith("{") else "", inner[0]


def _fill(call, element):
    """Check and decode the request: object, type of the object, parameters in order."""
    this = next((child for child in element if local_name(child.tag) == "_this"), None)
    if this is None:
        raise Malformed("_this is missing")
    ref = decode(this, "ref")
    description = TABLE.methods.get(call.method)
    if description is None or call.method not in HANDLERS:
        raise VimFault("MethodNotFound", f"Unable to resolve WSDL method name {call.method} for {ref.type or ref.value}",
                       receiver=ref, method=call.method)
    call.this = call.world.entities.get(ref.value)
    if call.this is None:
        raise not_found(ref)
    if description.owner != "ManagedObject" and not TABLE.is_a(call.this.type, description.owner):
        raise VimFault("MethodNotFound", receiver=ref, method=call.method)
    call.args = decode_fields(element, list(description.params), call.method, {})


def fault_xml(fault):
    out = []
    name = fault.data.type
    encode(out, f"{name}Fault", fault.data, name, attributes=f' xmlns="urn:vim25" xsi:type="{name}"')
    return (f"<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{scalar_text(fault.message)}</faultstring>"
            f"<detail>{''.join(out)}</detail></soapenv:Fault>")


def _answer_xml(call, result):
    description = TABLE.methods[call.method]
    out = []
    if isinstance(result, Raw):
        out.append(result.xml)
    elif result is not None:
        array = description.result.endswith("[]")
        encode(out, "returnval", result, description.result.removesuffix("[]"), array)
    return f'<{call.method}Response xmlns="{call.namespace}">{"".join(out)}</{call.method}Response>'


def _run(call, element, cookie):
    lab = call.lab
    lab.counters.method(call.method)
    call.session = lab.sessions.find(cookie)
    if lab.faults.strikes("soap.session_expired", method=call.method) and call.session is not None:
        lab.sessions.end(call.session)
        call.session = None
    if call.session is None and call.method not in WITHOUT_SESSION:
        this = next((decode(c, "ref") for c in element if local_name(c.tag) == "_this"), None)
        raise VimFault("NotAuthenticated", object=this or lab.world.root.ref, privilegeId="System.View")
    lab.sessions.serve(call.session)
    _fill(call, element)
    vm = call.this if call.this.type == "VirtualMachine" else getattr(call.this, "vm", None)
    vm = vm if hasattr(vm, "disks") else None
    broken = lab.faults.strikes("soap.method_fault", vm=vm, method=call.method)
    if broken:
        raise by_name(broken["fault"], vm)
    privilege = TABLE.methods[call.method].privilege
    if privilege != "System.Anonymous" and call.session is not None:
        call.require(privilege, vm or call.this)
    return HANDLERS[call.method](call)


def serve(lab, body, cookie):
    """(HTTP status, response text, method name, cookie to set or None) for one request."""
    call = Call(lab, "unknown", "urn:vim25")
    try:
        call.method, call.namespace, element = _parse(body)
        result = _run(call, element, cookie)
        return 200, ENVELOPE % _answer_xml(call, result), call.method, call.set_cookie
    except VimFault as fault:
        return 500, ENVELOPE % fault_xml(fault), call.method, None
    except Malformed as error:
        return 500, ENVELOPE % fault_xml(VimFault("InvalidRequest", str(error))), call.method, None
