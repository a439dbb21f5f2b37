# SPDX-License-Identifier: Apache-2.0
"""A small internet in network namespaces: an on-premises side with a private circuit and a LAN, a proxy
between that LAN and the internet, and a cloud that both ways lead to.

    on premises (o)                  edge (e)                     cloud (c)
      circ 10.1.0.1 ------------------------------------------- circ 10.1.0.5 (lsa...), .6 ... stand-ins
      lan  192.0.2.2 ------- lan 192.0.2.10   inet 203.0.113.1 -- inet 203.0.113.10 (accounts), .20 (control)

dnsmasq in the edge answers the LAN; squid there is the only way to the internet. Everything is named by
the process that made it: what a killed run left is swept by the next one. Needs root; without it, or
without namespaces, or without a program that takes part, `require()` ends the test as skipped."""
import atexit
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PREFIX = "kdgn"
NAME = re.compile(rf"^{PREFIX}(\d+)[oec]$")
KEY = "a2tr" * 21 + "aw=="  # of every account: 64 bytes of 'k'
PROXY = "192.0.2.10"
DOMAIN = "blob.core.windows.net"
PRIVATE, PUBLIC, CONTROL = "10.1.0.5", "203.0.113.10", "203.0.113.20"
TENANT = "11111111-2222-3333-4444-555555555555"


class Failed(Exception):
    pass


def run(*argv, check=True, stdin_text=""):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False,
                          input=stdin_text)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def sweep():
    """Namespaces and folders of runs that are no more, with what still runs in them."""
    for line in run("ip", "netns", "list", check=False).stdout.splitlines():
        name = line.split()[0] if line.split() else ""
        owner = NAME.match(name)
        if owner and not pathlib.Path(f"/proc/{owner[1]}").exists():
            remove_namespace(name)
    for folder in pathlib.Path("/var/tmp").glob("kedge-net-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdigit() and not pathlib.Path(f"/proc/{owner}").exists() and not os.environ.get("KEDGE_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def remove_namespace(name):
    for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    run("ip", "netns", "del", name, check=False)
    shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


def require():
    """Ends the test as skipped when the lab cannot be."""
    if os.geteuid() != 0:
        skip("network namespaces need root")
    for program in ("ip", "tc", "nft", "dnsmasq", "squid", "openssl", "node"):
        if not shutil.which(program):
            skip(f"'{program}' is not installed; run tools/deps.sh test")
    if not (pathlib.Path(os.environ.get("KEDGE_AZURITE", "")) / "dist/src/blob/main.js").exists():
        skip("KEDGE_AZURITE names no azurite package")
    sweep()
    probe = f"{PREFIX}{os.getpid()}o"
    made = run("ip", "netns", "add", probe, check=False)
    if made.returncode == 0:
        made = run("ip", "netns", "exec", probe, "nft", "add", "table", "inet", "lab", check=False)
        run("ip", "netns", "del", probe, check=False)
    if made.returncode != 0:
        skip(f"network namespaces cannot be made here: {made.stderr.strip()}")


class Lab:
    """names: host -> list of (answers) as `name()` takes them, made before dnsmasq starts."""

    def __init__(self, build, circuit_rate="400mbit", internet_rate="100mbit"):
        self.build = pathlib.Path(build).resolve()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"kedge-net-{os.getpid()}-", dir="/var/tmp"))
        self.dir.chmod(0o755)
        self.children = []
        self.rates = {"circ": circuit_rate, "inet": internet_rate}
        self.dns = []          # lines of dnsmasq's configuration
        self.stand_ins = []    # listeners of stand_in.py
        self.daemon = None
        self.ns = {side: f"{PREFIX}{os.getpid()}{side}" for side in "oec"}
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # ---- wires ----

    def ip(self, side, *argv):
        return run("ip", "-n", self.ns[side], *argv)

    def inside(self, side, *argv, check=True, stdin_text=""):
        return run("ip", "netns", "exec", self.ns[side], *argv, check=check, stdin_text=stdin_text)

    def wire(self, name, left, left_address, right, right_address):
        run("ip", "link", "add", name, "netns", self.ns[left], "type", "veth",
            "peer", "name", name, "netns", self.ns[right])
        for side, address in ((left, left_address), (right, right_address)):
            self.ip(side, "addr", "add", address, "dev", name)
            self.ip(side, "link", "set", name, "up")

    def make_wires(self):
        for name in self.ns.values():
            run("ip", "netns", "add", name)
        for side in self.ns:
            self.ip(side, "link", "set", "lo", "up")
        self.wire("circ", "o", "10.1.0.1/24", "c", f"{PRIVATE}/24")
        self.wire("lan", "o", "192.0.2.2/24", "e", f"{PROXY}/24")
        self.wire("inet", "e", "203.0.113.1/24", "c", f"{PUBLIC}/24")
        self.ip("c", "addr", "add", f"{CONTROL}/24", "dev", "inet")
        for side, name in (("o", "circ"), ("c", "circ"), ("e", "inet"), ("c", "inet")):
            run("tc", "-n", self.ns[side], "qdisc", "add", "dev", name, "root", "tbf",
                "rate", self.rates[name], "burst", "512k", "latency", "100ms")
        for side in self.ns:
            self.inside(side, "nft", "add", "table", "inet", "lab")
        folder = pathlib.Path(f"/etc/netns/{self.ns['o']}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resolv.conf").write_text(f"nameserver {PROXY}\noptions timeout:1 attempts:1\n")

    def address(self, address):
        """One more host at the far end of the circuit."""
        self.ip("c", "addr", "add", f"{address}/24", "dev", "circ")

    def drop(self, address):
        """Packets to it vanish at the far end of the circuit."""
        self.inside("c", "nft", "-f", "-", stdin_text=
                    "add chain inet lab hole { type filter hook input priority 0; }\n"
                    f"add rule inet lab hole ip daddr {address} drop\n")

    def cut(self, verdict="drop"):
        """The circuit is cut: silently, or with resets ("reject with tcp reset")."""
        match = "meta l4proto tcp " if "tcp" in verdict else ""
        rules = "".join(f"add chain inet lab cut_{hook} {{ type filter hook {hook} priority 0; }}\n"
                        f"flush chain inet lab cut_{hook}\n"
                        f"add rule inet lab cut_{hook} {way} circ {match}{verdict}\n"
                        for hook, way in (("input", "iifname"), ("output", "oifname")))
        self.inside("o", "nft", "-f", "-", stdin_text=rules)

    def mend(self):
        self.inside("o", "nft", "flush", "table", "inet", "lab")

    def sent(self, name, side="o"):
        """Bytes that left by this interface."""
        return int(self.inside(side, "cat", f"/sys/class/net/{name}/statistics/tx_bytes").stdout)

    # ---- programs ----

    def spawn(self, side, *argv, log, **env):
        out = open(self.dir / log, "ab")
        child = subprocess.Popen(["ip", "netns", "exec", self.ns[side], *map(str, argv)],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 preexec_fn=die_with_parent, env={**os.environ, **env})
        out.close()
        self.children.append(child)
        return child

    def wait_log(self, log, words, child, seconds=30):
        until = time.monotonic() + seconds
        while words not in (self.dir / log).read_text(errors="replace"):
            if child.poll() is not None or time.monotonic() > until:
                raise Failed(f"{log}: no '{words}':\n{(self.dir / log).read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def certificate(self, name, names, days=30, start=None):
        """name.pem with key, signed by ca.pem; start: "20200101000000Z" of an old one."""
        if not (self.dir / "ca.pem").exists():
            run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                "/CN=lab root", "-keyout", self.dir / "ca.key", "-out", self.dir / "ca.pem")
        request, out, extra = (self.dir / f"{name}.{end}" for end in ("csr", "pem", "ext"))
        key = self.dir / f"{name}.key"
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={names[0]}", "-keyout", key,
            "-out", request)
        extra.write_text("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n")
        if start:
            index = self.dir / f"{name}.ca"
            index.mkdir()
            (index / "index.txt").touch()
            (index / "conf").write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={index}/index.txt\n"
                                        f"new_certs_dir={index}\nrand_serial=yes\ndefault_md=sha256\n"
                                        "policy=p\n[p]\ncommonName=supplied\n")
            run("openssl", "ca", "-batch", "-config", index / "conf", "-cert", self.dir / "ca.pem", "-keyfile",
                self.dir / "ca.key", "-in", request, "-out", out, "-extfile", extra, "-startdate", start,
                "-enddate", "20200201000000Z", "-notext")
        else:
            run("openssl", "x509", "-req", "-in", request, "-CA", self.dir / "ca.pem", "-CAkey",
                self.dir / "ca.key", "-CAcreateserial", "-days", str(days), "-extfile", extra, "-out", out)
        out.write_text(out.read_text() + key.read_text())
        return out

    # ---- names ----

    def name(self, host, address, private_link=True):
        """host is an alias of its privatelink name, which has that address."""
        if not private_link:
            self.dns.append(f"host-record={host},{address},5")
            return
        label, domain = host.split(".", 1)
        self.dns.append(f"cname={host},{label}.privatelink.{domain},5")
        self.dns.append(f"host-record={label}.privatelink.{domain},{address},5")

    def stale_name(self, host):
        """An alias that leads to nothing, as a server that forwards passes it on."""
        self.stale = host
        self.dns.append(f"server=/{host}/127.0.0.1#5399")

    def start_dns(self):
        if getattr(self, "stale", None):
            self.spawn("e", sys.executable, HERE / "stale_dns.py", "5399", log="stale_dns.log")
        for view, address in (("lan", PROXY), ("inet", "203.0.113.1")):
            conf = self.dir / f"dnsmasq-{view}.conf"
            lines = [line for line in self.dns if view == "lan" or "/" not in line]
            if view == "inet":  # the public view knows no private address
                lines = [re.sub(r",10\.1\.0\.\d+", f",{PUBLIC}", line) for line in lines]
            conf.write_text("no-resolv\nno-hosts\nbind-interfaces\nno-daemon\nlog-queries\n"
                            f"listen-address={address}\nexcept-interface=lo\nport=53\npid-file=\n"
                            "user=root\nlocal=/net/\nlocal=/com/\n" + "\n".join(lines) + "\n")
            child = self.spawn("e", "dnsmasq", "-C", conf, log=f"dnsmasq-{view}.log")
            self.wait_log(f"dnsmasq-{view}.log", "started", child)

    # ---- proxy ----

    def start_proxy(self):
        """Ports: 3128 for all, 3129 with user 'kedge' and password 'right', 3130 refuses every CONNECT."""
        folder = self.dir / "squid"
        folder.mkdir()
        folder.chmod(0o777)
        crypted = run("openssl", "passwd", "-6", "right").stdout.strip()
        (folder / "passwd").write_text(f"kedge:{crypted}\n")
        (folder / "passwd").chmod(0o644)
        conf = folder / "squid.conf"
        conf.write_text(f"""
http_port {PROXY}:3128
http_port {PROXY}:3129
http_port {PROXY}:3130
auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwd
auth_param basic children 1 startup=1
acl open localport 3128
acl closed localport 3130
acl known proxy_auth REQUIRED
http_access allow open
http_access deny closed
http_access allow known
http_access deny all
dns_nameservers 203.0.113.1
positive_dns_ttl 5 seconds
cache deny all
cache_mem 8 MB
max_filedescriptors 1024
pid_filename none
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
coredump_dir {folder}
shutdown_lifetime 0 seconds
workers 1
pinger_enable off
visible_hostname lab
""")
        child = self.spawn("e", "squid", "-N", "-f", conf, log="squid.log")
        until = time.monotonic() + 30
        while "Accepting HTTP Socket connections" not in self.read("squid/cache.log"):
            if child.poll() is not None or time.monotonic() > until:
                raise Failed(f"squid: {self.read('squid/cache.log')[-2000:]}{self.read('squid.log')[-2000:]}")
            time.sleep(0.05)

    def read(self, name):
        path = self.dir / name
        return path.read_text(errors="replace") if path.exists() else ""

    def tunnels(self):
        """Hosts that squid was asked to connect to, with its verdicts."""
        hosts = {}
        for line in self.read("squid/access.log").splitlines():
            part = line.split()
            if len(part) > 6 and part[5] == "CONNECT":
                hosts.setdefault(part[6].rsplit(":", 1)[0], []).append((part[3], int(part[4])))
        return hosts

    # ---- cloud ----

    def start_azurite(self, *accounts):
        """Directly at the private address, behind a relay with some distance at the public one."""
        cert = self.certificate("blob", [f"*.{DOMAIN}"])
        child = self.spawn("c", "node", pathlib.Path(os.environ["KEDGE_AZURITE"]) / "dist/src/blob/main.js",
                           "--blobHost", PRIVATE, "--blobPort", "443", "--cert", cert, "--key",
                           self.dir / "blob.key", "--oauth", "basic", "--location", self.dir / "azurite",
                           "--silent", "--disableTelemetry", "--skipApiVersionCheck", log="azurite.log",
                           AZURITE_ACCOUNTS=";".join(f"{a}:{KEY}" for a in accounts))
        self.spawn("c", sys.executable, HERE / "relay.py", PUBLIC, "443", PRIVATE, "443", "5",
                   log="relay.log")
        return child

    def stand_in(self, address, cert, **more):
        """A listener of stand_in.py; see there."""
        self.stand_ins.append({"address": address, "port": 443, "cert": str(cert), **more})

    def start_stand_ins(self):
        config = self.dir / "stand_in.json"
        config.write_text(json.dumps({"listeners": self.stand_ins, "log": str(self.dir / "control.log"),
                                      "tenant": TENANT}))
        return self.spawn("c", sys.executable, HERE / "stand_in.py", config, log="stand_in.log")

    # ---- kedged ----

    def credential(self, name, **fields):
        path = self.dir / f"{name}.json"
        path.write_text(json.dumps({"ca_file": str(self.dir / "ca.pem"), **fields}))
        path.chmod(0o600)
        return path

    def secret(self, name, text):
        path = self.dir / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def config(self, folder, **options):
        """A configuration of its own; its path. Option names have '_' as in the file."""
        conf = self.dir / folder / "kedge.conf"
        if not conf.exists():
            run(self.build / "src/daemon/kedged", f"--init={self.dir / folder}")
        lines = [line for line in conf.read_text().splitlines()
                 if not (m := re.match(r"\s*([a-z_]+)\s*=", line)) or m[1] not in options]
        conf.write_text("\n".join(lines + [f"{k} = {v}" for k, v in options.items()]) + "\n")
        return conf

    def start_kedged(self, conf):
        self.conf = conf
        self.daemon = self.spawn("o", self.build / "src/daemon/kedged", "--config", conf, log="kedged.log")
        until = time.monotonic() + 30
        while self.kedge("status", check=False).returncode != 0:
            if self.daemon.poll() is not None or time.monotonic() > until:
                raise Failed(f"kedged: {self.read('kedged.log')[-3000:]}")
            time.sleep(0.05)

    def stop_kedged(self):
        self.daemon.terminate()
        if self.daemon.wait(60) != 0:
            raise Failed(f"kedged ended with {self.daemon.returncode}: {self.read('kedged.log')[-3000:]}")

    def kedge(self, *argv, check=True):
        return self.inside("o", self.build / "src/cli/kedge", "--config", self.conf, *argv, check=check)

    def ask(self, *argv):
        return json.loads(self.kedge(*argv, "--json").stdout)

    def close(self):
        for child in self.children:
            child.kill()
        for child in self.children:
            child.wait()
        self.children = []
        for name in self.ns.values():
            remove_namespace(name)
        if os.environ.get("KEDGE_KEEP"):
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
