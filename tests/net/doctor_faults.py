#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each fault of a path gives a diagnosis of its own: the step, its verdict and its words. One lab, one
`kedge network check --offline` for each fault. doctor_faults.py BUILD"""
import json
import sys
import time

import lab

LOG, STATE = "log-store", "state-store"


class Faults:
    def __init__(self, build):
        self.lab = lab.Lab(build)
        self.failures = []

    def start(self):
        box = self.lab
        box.make_wires()
        hosts = {"lsakedge": lab.PRIVATE, "lsaname": "10.1.0.6", "lsaexpired": "10.1.0.7", "lsaold": "10.1.0.8",
                 "lsaclock": "10.1.0.9", "lsasilent": "10.1.0.66", "lsapublic": lab.PUBLIC, "replkedge": lab.PRIVATE}
        for account, address in hosts.items():
            box.name(f"{account}.{lab.DOMAIN}", address)
            if address.startswith("10.") and address != lab.PRIVATE:
                box.address(address)
        box.name(f"gwsakedge.{lab.DOMAIN}", lab.PUBLIC, private_link=False)
        box.name("login.microsoftonline.com", lab.CONTROL, private_link=False)
        box.stale_name(f"lsastale.{lab.DOMAIN}")
        box.drop("10.1.0.66")
        azurite = box.start_azurite("lsakedge", "gwsakedge", "lsapublic", "replkedge")
        box.stand_in("10.1.0.6", box.certificate("other", ["other.example.net"]))
        box.stand_in("10.1.0.7", box.certificate("expired", [f"*.{lab.DOMAIN}"], start="20200101000000Z"))
        box.stand_in("10.1.0.8", box.dir / "blob.pem", tls="1.1")
        box.stand_in("10.1.0.9", box.dir / "blob.pem", date_offset_s=1200, status=403)
        box.stand_in(lab.CONTROL, box.certificate("control", ["login.microsoftonline.com"]))
        stand_ins = box.start_stand_ins()
        box.start_dns()
        box.start_proxy()
        box.wait_log("stand_in.log", "ready", stand_ins)
        box.wait_log("azurite.log", "successfully listens", azurite)
        key = box.secret("account.key", lab.KEY)
        wrong = box.secret("wrong.key", "a2tq" + lab.KEY[4:])
        secret = box.secret("client.secret", "any")
        box.secret("proxy.right", "right\n")
        box.secret("proxy.wrong", "wrong\n")
        self.key = box.credential("key", kind="shared-key", key_file=str(key))
        self.wrong = box.credential("wrong", kind="shared-key", key_file=str(wrong))
        self.entra = box.credential("entra", kind="client-secret", tenant=lab.TENANT, client=lab.TENANT,
                                    secret_file=str(secret))

    def check(self, log="lsakedge", state=None, credential=None, **options):
        """The report on a log store (and a state store) in those accounts."""
        credential = credential or self.key
        box = self.lab
        fields = {"log_store": f"blob:https://{log}.{lab.DOMAIN}/logs", "log_store_credential": credential}
        if state:
            fields |= {"state_store": f"blob:https://{state}.{lab.DOMAIN}/states",
                       "state_store_credential": credential}
        folder = f"c{time.monotonic_ns()}"
        conf = box.config(folder, **fields, **options)
        done = box.inside("o", box.build / "src/cli/kedge", "--config", conf, "network", "check", "--offline",
                          "--json", check=False)
        if done.returncode not in (0, 6):
            raise lab.Failed(f"network check: {done.returncode} {done.stderr}")
        report = json.loads(done.stdout)
        if (done.returncode == 6) != (report["verdict"] == "failed"):
            raise lab.Failed(f"exit code {done.returncode} of verdict {report['verdict']}")
        return {endpoint["role"]: {step["step"]: step for step in endpoint["steps"]}
                for endpoint in report["endpoints"]}

    def expect(self, what, steps, step, verdict, *words):
        """That step has the verdict and all the words in its line; after a failure nothing was tried."""
        found = steps[step]
        line = f"{found['cause']}; {found['remedy']}"
        missing = [word for word in words if word not in line]
        names = list(steps)
        tried = [name for name in names[names.index(step) + 1:]
                 if verdict == "failed" and name != "account" and steps[name]["verdict"] != "skipped"]
        bad = (found["verdict"] != verdict or missing or (tried and step != "route")
               or (verdict == "failed" and not found["remedy"]))
        print(f"{'FAILED' if bad else 'ok':7}{what}: {step} {found['verdict']}: {line}", flush=True)
        if bad:
            self.failures.append(what)
            print(f"       wanted {verdict} {words}; missing {missing}; tried after it {tried}")

    def expect_well(self, what, steps):
        bad = [f"{n} {s['verdict']}: {s['cause']}" for n, s in steps.items() if s["verdict"] != "ok"]
        print(f"{'FAILED' if bad else 'ok':7}{what}: {', '.join(bad) or ', '.join(steps)}", flush=True)
        if bad:
            self.failures.append(what)

    # ---- one after the other ----

    def names(self):
        well = self.check()[LOG]
        self.expect_well("all is well", well)
        self.expect("the chain is shown", well, "name", "ok", f"lsakedge.{lab.DOMAIN} -> lsakedge.privatelink",
                    "-> 10.1.0.5 (private)", lab.PROXY)
        self.expect("a public answer where private is required",
                    self.check("lsapublic", require_private="log-store")[LOG], "name", "failed",
                    "public answer where a private address is required", lab.PUBLIC, "private zone")
        # Without the option it is a warning; no route leads there from here.
        self.expect("a public answer of a private endpoint", self.check("lsapublic")[LOG], "name", "warning",
                    "has a private endpoint, and the answer is public")
        self.expect("no such name", self.check("lsanone")[LOG], "name", "failed", f"lsanone.{lab.DOMAIN}",
                    "does not exist", lab.PROXY)
        self.expect("a stale CNAME", self.check("lsastale")[LOG], "name", "failed",
                    "alias that leads to nothing", "gone.privatelink", "stale CNAME")

    def tls(self):
        self.expect("another server's certificate", self.check("lsaname")[LOG], "tls", "failed",
                    "certificate is for other.example.net", f"not for 'lsaname.{lab.DOMAIN}'")
        self.expect("an expired certificate", self.check("lsaexpired")[LOG], "tls", "failed",
                    "has expired on 2020-02-01", "renew it")
        self.expect("TLS 1.1 only", self.check("lsaold")[LOG], "tls", "failed", "speaks TLSv1.1 at most",
                    "refused", "TLS 1.2")
        self.expect("a clock that is wrong", self.check("lsaclock")[LOG], "clock", "failed",
                    "the clock of this host is 1", "s behind", "NTP")
        self.expect("packets that vanish", self.check("lsasilent")[LOG], "connect", "failed",
                    "10.1.0.66", "silent", "packets are dropped", "circuit")
        self.expect("a wrong account key", self.check(credential=self.wrong)[LOG], "sign-in", "failed",
                    "account 'lsakedge' refuses the credential", "check the credential")

    def proxies(self):
        way = {"state": "gwsakedge", "proxy_bypass": f"lsakedge.{lab.DOMAIN}"}
        well = self.check(**way, proxy=f"http://{lab.PROXY}:3128")
        self.expect_well("the log store past the proxy", well[LOG])
        self.expect_well("the state store by the proxy", well[STATE])
        self.expect("the rule is named", well[LOG], "route", "ok", "direct", f"lsakedge.{lab.DOMAIN}")
        self.expect("the proxy is named", well[STATE], "route", "ok", f"http://{lab.PROXY}:3128")
        self.expect("a proxy that refuses to connect",
                    self.check(**way, proxy=f"http://{lab.PROXY}:3130")[STATE], "tunnel", "failed",
                    "refuses to connect", f"gwsakedge.{lab.DOMAIN}", "403")
        self.expect("a proxy that demands authentication",
                    self.check(**way, proxy=f"http://{lab.PROXY}:3129")[STATE], "tunnel", "failed",
                    "demands authentication", "407", "password")
        known = {"proxy": f"http://kedge@{lab.PROXY}:3129"}
        self.expect("a wrong password for the proxy",
                    self.check(**way, **known, proxy_password_file=self.lab.dir / "proxy.wrong")[STATE],
                    "tunnel", "failed", "refuses user and password", "407")
        self.expect_well("the right password for the proxy",
                         self.check(**way, **known, proxy_password_file=self.lab.dir / "proxy.right")[STATE])
        caught = self.check(state="gwsakedge", proxy=f"http://{lab.PROXY}:3128",
                            proxy_bypass=f".*.{lab.DOMAIN}", require_private="log-store")
        self.expect("a bypass rule that catches the state store", caught[STATE], "route", "failed",
                    f".*.{lab.DOMAIN}", "no private endpoint", f"lsakedge.{lab.DOMAIN}")
        issuer = self.check(**way, proxy=f"http://{lab.PROXY}:3128", credential=self.entra)
        self.expect_well("tokens by the proxy", issuer["entra"])
        self.expect_well("the log store by a token", issuer[LOG])


    # ---- what only ARM knows ----

    def start_sim(self):
        box = self.lab
        accounts = [{"name": "lsakedge", "kind": "Storage"}, {"name": "replkedge"}]
        config = box.dir / "sim.json"
        config.write_text(json.dumps({
            "storage_accounts": [{**account, "key": lab.KEY, "endpoint": f"https://{lab.PRIVATE}"}
                                 for account in accounts],
            "private_endpoints": [{"name": "pe-replicas", "account": "replkedge", "state": "Pending"}],
            "clients": [{"id": "kedge", "secret": "any", "roles": [
                {"scope": "/", "actions": ["*"], "notActions": ["Microsoft.Network/privateDnsZones/*"]}]}]}))
        sim = box.spawn("o", lab.ROOT / "sim/kedge-azure-sim", "--config", config, "--run-dir", box.dir / "sim",
                        log="sim.log")
        ready = box.dir / "sim" / "ready.json"
        until = time.monotonic() + 30
        while not ready.exists():
            if sim.poll() is not None or time.monotonic() > until:
                raise lab.Failed(f"the simulated cloud does not come up: {box.read('sim.log')[-2000:]}")
            time.sleep(0.05)
        return json.loads(ready.read_text())

    def accounts(self):
        box, sim = self.lab, self.start_sim()
        arm = box.credential("arm", kind="client-secret", tenant=sim["tenant"], client="kedge",
                             secret_file=str(box.dir / "client.secret"), authority=sim["url"],
                             ca_file=sim["certificate"])
        group = f"/subscriptions/{sim['subscription']}/resourceGroups/rg-target/providers"
        conf = box.config("arm", log_store=f"blob:https://lsakedge.{lab.DOMAIN}/logs",
                          log_store_credential=self.key, require_private="log-store",
                          network_check_interval="2s")
        box.start_kedged(conf)
        target = {"subscription": sim["subscription"], "resource_group": "rg-target",
                  "location": sim["location"], "credential_file": str(arm), "endpoint": sim["url"],
                  "replica_container": f"https://replkedge.{lab.DOMAIN}/replicas",
                  "replica_credential_file": str(self.key),
                  "storage_account_id": f"{group}/Microsoft.Storage/storageAccounts/replkedge",
                  "network_id": f"{group}/Microsoft.Network/virtualNetworks/vnet", "subnet": "default"}
        body = box.dir / "target.json"
        body.write_text(json.dumps({"name": "cloud", "kind": "azure", "options": target}))
        added = box.inside("o", "curl", "-s", "--unix-socket", box.dir / "arm/run/kedged.sock", "--json",
                           f"@{body}", "http://kedged/v1/targets").stdout
        if "error" in added:
            raise lab.Failed(f"target: {added}")
        done = box.kedge("network", "check", "--json", check=False)
        found = {one["role"]: {step["step"]: step for step in one["steps"]}
                 for one in json.loads(done.stdout)["endpoints"]}
        self.expect("an account of the first generation", found[LOG], "account", "failed", "'lsakedge'",
                    "'Storage', not general-purpose v2", "cannot have private endpoints", "Upgrade")
        self.expect("a private endpoint that nobody approved", found["replica-store"], "account", "warning",
                    "pe-replicas' is Pending", "approves")
        self.expect("permissions that are missing", found["arm"], "permissions", "warning", "missing in 'rg-target'",
                    "Microsoft.Network/privateDnsZones/write")
        self.expect("permissions that are there", found["arm"], "sign-in", "ok", sim["subscription"])
        self.background()
        box.stop_kedged()

    def background(self):
        """An event when a path breaks, and one when it is well again."""
        for event, change in (("network_failed", lambda: self.lab.cut("reject with tcp reset")),
                              ("network_well", self.lab.mend)):
            change()
            until = time.monotonic() + 120
            while not (lines := [line for line in self.lab.kedge("events", "--json").stdout.splitlines()
                                 if f'"{event}"' in line and "replica-store" in line]):
                if time.monotonic() > until:
                    raise lab.Failed(f"no event {event}: {self.lab.kedge('events').stdout[-2000:]}")
                time.sleep(0.2)
            print(f"ok     told in the background: {json.loads(lines[-1])['text']}", flush=True)


def main():
    lab.require()
    faults = Faults(sys.argv[1])
    try:
        began = time.monotonic()
        faults.start()
        print(f"lab {time.monotonic() - began:.1f} s")
        faults.names()
        faults.tls()
        faults.proxies()
        faults.accounts()
    finally:
        faults.lab.close()
    if faults.failures:
        sys.exit(f"{len(faults.failures)} failed: {', '.join(faults.failures)}")


main()
