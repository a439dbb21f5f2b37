#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets as hex text to tests/fuzz/corpus.

They are the golden objects and a few records put together here; run it again after a
format got a new version. Seeds of crashes are added by hand and not touched by this.
"""
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"


def golden(name):
    return bytes.fromhex((GOLDEN / f"{name}-v1.hex").read_text())


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    text = data.hex()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")


def record(kind, offset, length, pieces=(), content=b"", digests=0, method=0, packed=None):
    """Flags byte, plain header, piece table, room for digests, content (mode 1)."""
    packed = content if packed is None else packed
    head = struct.pack("<4sBBHQQIIIHHQ", b"KREC", kind, method, len(pieces), offset, length,
                       len(content), len(packed), 0, digests, 0, 0)
    table = b"".join(struct.pack("<II", *piece) for piece in pieces)
    return b"\x03" + head + table + bytes(16 * digests) + packed


def end(content_bytes, data, zero, same):
    return b"\x01" + struct.pack("<4sBBHQIIIIIHHQ", b"KREC", 4, 0, 0, content_bytes, data,
                                 zero, same, 0, 0, 0, 0, 0)


def shape(kind, offset, length, method, pieces=()):
    """A record for the writer (mode 2)."""
    return b"\x02" + struct.pack("<BIIBB", kind, offset, length, method, 1) + b"".join(
        struct.pack("<HH", *piece) for piece in pieces)


def piece(op_id, read, offset, plain, method=0, packed=None):
    """One NFC answer: head, payload, data; of read `read` of the target (mode 1)."""
    data = plain if packed is None else packed
    return struct.pack("<IIIIQIIQIIIII", 0xA100DA7A, 7, 44, op_id, 0, 1, method, read * 131072,
                       131072, offset, len(plain), len(data), 0) + data


def skipz(total, *runs):
    return struct.pack("<II", total, 0) + b"".join(
        struct.pack("<II", at, len(data)) + data for at, data in runs)


def nfc():
    text = bytes(range(1, 65)) * 1024
    far = bytes([31 | 32]) + bytes(32) + (bytes([31]) + bytes(range(32))) * 300 + bytes([0x5f, 255, 1, 0])
    put("nfc", "skipz", b"\x00\x03\x7f\x00" + skipz(65536, (512, text[:700]), (60000, b"x" * 100)))
    put("nfc", "skipz-empty", b"\x00\x03\x7f\x00" + skipz(65536))
    put("nfc", "zlib", b"\x00\x01\x7f\x00" + zlib.compress(text, 1))
    put("nfc", "fastlz-run", b"\x00\x02\x00\x00" + bytes([0, 97, 0xe0, 246, 0, 0xe0, 246, 0, 0, 9]))
    put("nfc", "fastlz-2-run", b"\x00\x02\x00\x00" + bytes([32, 97, 0xe0, 255, 247, 0]))
    put("nfc", "fastlz-2-far", b"\x00\x02\x13\x00" + far)
    put("nfc", "answers", b"\x01" + piece(5, 1, 65536, text) + piece(4, 0, 0, text) +
        piece(5, 1, 0, bytes(65536), 3, skipz(65536)) +
        piece(7, 3, 512, text[:512], 3, skipz(512, (0, b"ab"))) + piece(4, 0, 65536, text))
    put("nfc", "answers-zlib", b"\x01" + piece(6, 2, 0, text, 1, zlib.compress(text)) +
        piece(6, 2, 65536, text, 1, zlib.compress(text)) + piece(6, 2, 0, text))
    put("nfc", "opened", b"\x02" + struct.pack("<8xQII4xQIIII8x", 0x1122, 2, 0x1e, 1 << 30, 512,
                                              130, 255, 63))
    put("nfc", "refusal", b"\x02" + struct.pack("<II", 11, 0) + b"permission check failed\0")
    put("nfc", "thumbprint", b"\x02" + b":".join(b"%02X" % i for i in range(20)))


def soap():
    """Byte 0: 0 any XML, 1 a machine, then the types of fuzz_soap.c in its order."""
    machine = (GOLDEN / "vim25" / "machine.xml").read_bytes().replace(
        b"RetrievePropertiesExResponse", b"MResponse")
    envelope = ('<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/" '
                'xmlns:_XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance"><S:Body>{}</S:Body></S:Envelope>')

    def answer(pick, name, inner):
        body = envelope.format(f"<MResponse><returnval>{inner}</returnval></MResponse>")
        put("soap", name, bytes([pick]) + body.encode())

    put("soap", "xml", b"\x00<a x='1'><!-- c --><b>t&amp;&#x65e5;</b><c><![CDATA[z]]></c><?p q?></a>")
    put("soap", "machine", b"\x01" + machine)
    put("soap", "fault", b"\x02" + envelope.format(
        "<S:Fault><faultcode>c</faultcode><faultstring/><detail><NoPermissionFault "
        "_XMLSchema-instance:type='v:NoPermission'><object type='Folder'>g</object><privilegeId>P.Q</privilegeId>"
        "<faultMessage><message>m</message></faultMessage></NoPermissionFault></detail></S:Fault>").encode())
    answer(2, "changes", "<startOffset>0</startOffset><length>9223372036854775807</length>"
           "<changedArea><start>-1</start><length>512</length></changedArea>"
           "<changedArea><length>1</length><start>0</start></changedArea>")
    answer(3, "task", "<state>error</state><error><fault _XMLSchema-instance:type='NoDiskSpace'><file>f</file></fault>"
           "<localizedMessage>full</localizedMessage></error><result><any/></result><progress>95</progress>")
    answer(4, "ticket", "<host>h</host><port>902</port><sslThumbprint>AA:BB</sslThumbprint><service>nfc</service>"
           "<serviceVersion>1.1</serviceVersion><sessionId>s</sessionId>")
    answer(5, "privileges", "<entity type='VirtualMachine'>vm-1</entity><privAvailability><privId>A.B</privId>"
           "<isGranted>true</isGranted></privAvailability>")
    answer(6, "content", "<rootFolder type='Folder'>d</rootFolder><propertyCollector type='P'>p</propertyCollector>"
           "<about><name>n</name><apiType>HostAgent</apiType><apiVersion>8</apiVersion></about>")
    answer(8, "device", "<key>2000</key><backing _XMLSchema-instance:type='A'><fileName>a</fileName><parent><fileName>b"
           "</fileName><parent/></parent></backing><capacityInKB>1</capacityInKB>")
    answer(10, "snapshots", "<currentSnapshot type='S'>s</currentSnapshot><rootSnapshotList><snapshot type='S'>s"
           "</snapshot><createTime>2026-01-01T00:00:00.5+01:00</createTime><childSnapshotList><snapshot type='S'>t"
           "</snapshot></childSnapshotList></rootSnapshotList>")


def azure():
    put("azure", "list", b"\x00<?xml version=\"1.0\"?><EnumerationResults ContainerName=\"c\"><Blobs>"
        b"<Blob><Name>p/a/1</Name><Properties><Content-Length>4096</Content-Length></Properties></Blob>"
        b"<Blob><Name>p/a/2</Name><Properties><Content-Length>0</Content-Length><ResourceType>file"
        b"</ResourceType></Properties></Blob></Blobs><NextMarker>next</NextMarker></EnumerationResults>")
    put("azure", "error-xml", b"\x01HTTP/1.1 403 Answer\r\nx-ms-error-code: AuthenticationFailed\r\n"
        b"Date: Sun, 22 Nov 2026 06:00:18 GMT\r\nx-ms-request-id: 1\r\n\r\n\x00"
        b"<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>no; never</Message></Error>")
    put("azure", "error-json", b"\x01HTTP/1.1 401 Answer\r\n\r\n\x00{\"error\": \"invalid_client\", "
        b"\"error_description\": \"AADSTS7000215: Invalid client secret.\"}")
    put("azure", "error-nested", b"\x01HTTP/1.1 409 Conflict\r\nRetry-After: 31536000\r\n\r\n\x00{\"error\": {\"code\": "
        b"\"Conflict\", \"message\": \"m\", \"details\": [{\"code\": \"OperationNotAllowed\", \"message\": \"exceeding Cores "
        b"quota\", \"innererror\": {\"code\": \"x\"}}]}}")
    put("azure", "arm-url", b"\x08https://management.azure.com:443/subscriptions/s?p=%2F&t=1")
    put("azure", "arm-id", b"\x08/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/"
        b"Microsoft.Network/virtualNetworks/v/subnets/s")
    put("azure", "token", b"\x02{\"access_token\": \"abc\", \"expires_on\": \"4070908800\"}")
    put("azure", "address", b"\x03https://lsa1.blob.core.windows.net/logs/site-1")
    put("azure", "address-local", b"\x03http://[::1]:10000/dev1/logs/a/b")
    put("azure", "date", b"\x04Sun, 22 Nov 2026 06:00:18 GMT")
    put("azure", "ranges", b"\x05<PageList><PageRange><Start>0</Start><End>2097151</End></PageRange>"
        b"<ClearRange><Start>3145728</Start><End>3146239</End></ClearRange>"
        b"<PageRange><Start>4194304</Start><End>4194815</End></PageRange><NextMarker>m1</NextMarker>"
        b"</PageList>")
    put("azure", "snapshots", b"\x06<EnumerationResults><Blobs><Blob><Name>d</Name>"
        b"<Snapshot>2026-11-22T10:00:00.0000000Z</Snapshot><Properties/><Metadata>"
        b"<kedgesnapshot>m</kedgesnapshot></Metadata></Blob></Blobs><NextMarker/></EnumerationResults>")
    footer = bytearray(b"conectix" + struct.pack(">IIQI4sI4sQQHBBII", 2, 0x10000, 2**64 - 1, 0, b"qem2",
                                                 0x50003, b"Wi2k", 1 << 20, 1 << 20, 65535, 16, 255, 2, 0))
    footer += bytes(512 - len(footer))
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xffffffff)
    put("azure", "footer", b"\x07" + bytes(footer))
    put("azure", "sas", b"\x04sv=2020-12-06&se=2026-11-22T06%3A00%3A18Z&sig=x")


def zone_file():
    """Two transitions and a rule: what a compiled zone looks like."""
    def block(width, times):
        head = b"TZif2" + bytes(15) + struct.pack(">6I", 0, 0, 0, len(times), 2, 8)
        kinds = struct.pack(">iBB", 3600, 0, 0) + struct.pack(">iBB", 7200, 1, 4)
        return (head + b"".join(struct.pack(width, t) for t in times) + bytes([1, 0]) + kinds +
                b"CET\0CES\0")
    times = (1774746000, 1792890000)
    return block(">i", times) + block(">q", times) + b"\nCET-1CEST,M3.5.0,M10.5.0/3\n"


def fleet():
    put("fleet", "full", b"name,size_gib,used_pct,host,datastore,disks,churn_mib_per_h,pattern,"
        b"gateway,read_mib_per_s\ndb1,500,70,esx3,ds1;ds2,4,900,scattered,gw1,80.5\n"
        b"web1,40,,esx3,ds1,60,0,skewed,,0\n")
    put("fleet", "quotes", b'name,size_gib,host\r\n# x\r\n"a",0,"b ""c"", d"\r\n')
    put("fleet", "large", b"size_gib,name\n1048576,m\n")


def keys():
    lines = (GOLDEN / "keys-v2.txt").read_text().splitlines()
    golden = dict(line.split(" ", 1) for line in lines)
    old = dict(line.split(" ", 1) for line in (GOLDEN / "keys-v1.txt").read_text().splitlines())
    put("keys", "master-1", b"\x00" + old["file"].encode())
    put("keys", "master-2-plain", b"\x00" + golden["file_plain"].encode())
    put("keys", "master-2-scrypt", b"\x00" + golden["file"].encode())
    put("keys", "wrapped-1", b"\x01" + old["wrapped"].encode())
    put("keys", "wrapped-2", b"\x01" + golden["wrapped"].encode())
    put("keys", "address", b"\x02https://v.vault.azure.net/secrets/a-1/0123456789abcdef")
    put("keys", "address-local", b"\x02http://[::1]:8443/keys/k")


def week():
    put("week", "blackout", b"\x00Monday;7:00;7h | Tuesday;8:00;1d7h | Sunday;22:30;8m")
    put("week", "blackout-joined", b"\x00Friday;23:00;2d | Sunday;1:30;366d")
    put("week", "calendar", b"\x01Mon-Fri 08:00-18:00 10MB/s; Sat,Sun 22:00-6:00 80Mbit/s; * 0")
    put("week", "file", b'\x02{"BlackoutWindows": "Monday;7:00;7h", "HostBufferSizeInMB": 128}')
    put("week", "zone", b"\x03" + zone_file())


def order():
    for number, name in enumerate(("order", "order-progress", "order-result", "order-beat")):
        put("order", name, bytes([number]) + (GOLDEN / f"{name}-v1.json").read_bytes().strip())
    head = b'\x02{"version":1,"nonce":"000102030405060708090a0b0c0d0e0f","kind":"done","text":"","retry_after_ms":0,"body":'
    put("order", "result-vm", head + b'{"name":"m1-t1","how_booted":"serial marker","boot_ms":9,"screen_png":"/s.png",'
        b'"serial_log":"/s.log","qmp_path":"/q","pid":7,"disk_paths":["/d0"]}}')
    put("order", "result-findings", head + b'[{"severity":"warning","code":"room.little","what":"a","why":"b",'
        b'"remedy":"c"}]}')
    put("order", "result-things", head + b'[{"kind":"disk","name":"d","id":"/d","machine":"m1","machine_id":"","role":"replica",'
        b'"state":"","size_bytes":512,"allocated_bytes":0,"known":true}]}')
    put("order", "result-items", head + b'[{"machine":{"name":"m1","cpus":1,"memory_bytes":1,"disks":[]},"test":"t1",'
        b'"migrated":false}]}')


def dns_name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def dns_record(name, kind, data):
    return name + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def path():
    lsa, link = "lsa1.blob.core.windows.net", "lsa1.privatelink.blob.core.windows.net"
    question = dns_name(lsa) + struct.pack(">HH", 1, 1)
    head = lambda rcode, count: struct.pack(">6H", 7, 0x8180 | rcode, 1, count, 0, 0) + question
    alias = dns_record(b"\xc0\x0c", 5, dns_name(link))
    put("path", "answer", b"\x00" + head(0, 2) + alias + dns_record(dns_name(link), 1, bytes([10, 1, 0, 5])))
    put("path", "answer-aaaa", b"\x00" + head(0, 1) + dns_record(b"\xc0\x0c", 28, b"\xfd" + bytes(15)))
    put("path", "answer-stale", b"\x00" + head(3, 1) + alias)
    put("path", "answer-loop", b"\x00" + head(0, 1) + dns_record(b"\xc0\x0c", 5, b"\xc0\x0c"))
    put("path", "bypass", b"\x01*.corp.example\na.corp.example")
    put("path", "bypass-azure", b"\x01.*.blob.core.windows.net, ^.*\\.b\\.c$; [fd00::5]:443 10.0.0.0/8\nevilblob.core.windows.net")
    put("path", "bypass-label", b"\x01lsa*.x:443,<local>,*\nlsa1.x")
    put("path", "hosts", b"\x02# c\n10.1.0.5\tlsa1.example x # y\n\nfd00::7 lsa1.example.\n")
    put("path", "proxy", b"\x03http://dom%5Cjo@[fd00::1]:3128")
    put("path", "servers", b"\x0310.0.0.53, log-store=[fd00::53]:5353")
    put("path", "roles", b"\x03arm=proxy, log-store=direct")


def main():
    put("bitmap", "golden", b"\x00" + golden("bitmap"))
    put("bitmap", "golden-fixed", b"\x01" + golden("bitmap")[:-8])
    put("bitmap", "empty", b"\x01KDGBMP01" + struct.pack("<HHIQQ", 1, 32, 512, 4096, 0))
    for number, name in enumerate(("plan", "journal", "manifest", "sealed")):
        put("objects", name, bytes([number]) + golden(name))
    put("objects", "replica", b"\x04KDGRST01" + bytes(48))
    for name in ("stored", "lz4", "zstd"):
        put("segment", name, b"\x00" + golden(f"segment-{name}"))
    sector = bytes(range(256)) * 2
    # one literal-only LZ4 block would not be smaller: a run of one byte is
    lz4 = bytes([0x1f, 0x61, 0x01, 0x00, 255, 232, 0x50]) + b"a" * 5
    put("segment", "records", b"\x01" +
        record(1, 65536 - 512, 1024, content=sector * 2, digests=2) +
        record(2, 1 << 20, 3 << 20) +
        record(1, 0, 4096, pieces=((0, 1), (5, 2)), content=sector * 3, digests=1) +
        record(3, 1 << 40, 65536) + end(5 * 512, 2, 1, 1))
    put("segment", "record-lz4", b"\x01" +
        record(1, 0, 512, content=bytes(512), digests=1, method=1, packed=lz4) +
        end(512, 1, 0, 0))
    put("segment", "shape-span", shape(1, 0, 2048, 1, ((0, 2048),)))
    put("segment", "shape-pieces", shape(1, 2040, 8, 2, ((0, 1), (2, 3), (7, 1))))
    put("segment", "shape-zero", shape(2, 5, 4000, 0))
    nfc()
    soap()
    azure()
    fleet()
    path()
    keys()
    week()
    order()


if __name__ == "__main__":
    main()
