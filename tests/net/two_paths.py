#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real replication over two paths: data over the private circuit only, control through the proxy only,
as the interfaces' counters and the proxy's log say; the bound of the throttle on the wire; and a circuit that
is cut in the middle of an initial cycle, with the bytes sent again counted on the interface.
two_paths.py BUILD"""
import os
import sys
import time

import lab

MIB = 1 << 20
SEGMENT = 2 * MIB
PUTTERS = 2  # segments on their way at once, src/gateway/send_impl.h
SITE, GATEWAY, LOGIN = f"lsakedge.{lab.DOMAIN}", f"gwsakedge.{lab.DOMAIN}", "login.microsoftonline.com"


def require(ok, text):
    print(f"{'ok' if ok else 'FAILED':7}{text}", flush=True)
    if not ok:
        raise lab.Failed(text)


class Paths:
    def __init__(self, build):
        self.lab = lab.Lab(build, circuit_rate="800mbit", internet_rate="50mbit")

    def start(self):
        box = self.lab
        box.make_wires()
        box.name(SITE, lab.PRIVATE)
        box.name(GATEWAY, lab.PUBLIC, private_link=False)
        box.name(LOGIN, lab.CONTROL, private_link=False)
        azurite = box.start_azurite("lsakedge", "gwsakedge")
        box.stand_in(lab.CONTROL, box.certificate("control", [LOGIN]))
        stand_ins = box.start_stand_ins()
        box.start_dns()
        box.start_proxy()
        box.wait_log("stand_in.log", "ready", stand_ins)
        box.wait_log("azurite.log", "successfully listens", azurite)
        entra = box.credential("entra", kind="client-secret", tenant=lab.TENANT, client=lab.TENANT,
                               secret_file=str(box.secret("client.secret", "any")))
        self.conf = box.config(
            "k", log_store=f"blob:https://{SITE}/logs", log_store_credential=entra,
            state_store=f"blob:https://{GATEWAY}/states", state_store_credential=entra,
            proxy=f"http://{lab.PROXY}:3128", proxy_bypass=SITE, require_private="log-store",
            segment_size="2M", compression="none", network_check_interval="0")
        box.start_kedged(self.conf)
        box.kedge("target", "add", "here", "local", "--dir", box.dir / "replicas", "--accel", "tcg")

    def image(self, name, mib):
        path = self.lab.dir / f"{name}.raw"
        path.write_bytes(os.urandom(mib * MIB))
        self.lab.kedge("source", "add", name, "image", "--path", path)
        return path

    def replicate(self, name):
        """Follows the job to the end of the initial cycle."""
        return self.lab.spawn("o", self.lab.build / "src/cli/kedge", "--config", self.conf, "replicate", name,
                              name, log=f"replicate-{name}.log")

    def finish(self, child, name):
        require(child.wait(120) == 0, f"'{name}' is replicated: {self.lab.read(f'replicate-{name}.log')[-200:]}")

    def check_replica(self, name, path):
        lab.run("cmp", path, self.lab.dir / "replicas" / name / "disk0.raw")

    # ---- data and control each on its own ----

    def separate(self):
        box, mib, limit = self.lab, 40, 16 * MIB
        path = self.image("first", mib)
        box.kedge("throttle", "set", str(limit))
        circuit, lan, began = box.sent("circ"), box.sent("lan"), time.monotonic()
        job, worst = self.replicate("first"), 0.0
        while job.poll() is None:
            # The bucket is a quarter of a second; what is no segment (listing, reading back) is below a MiB.
            allowed = 1.05 * limit * (time.monotonic() - began + 0.25) + MIB
            worst = max(worst, (box.sent("circ") - circuit) / allowed)
            time.sleep(0.1)
        self.finish(job, "first")
        require(worst <= 1, f"the throttle holds on the wire at every moment (at most {worst:.2f} of the bound)")
        circuit, lan = box.sent("circ") - circuit, box.sent("lan") - lan
        self.check_replica("first", path)
        require(mib * MIB < circuit < 1.1 * mib * MIB,
                f"the circuit carried the data: {circuit} bytes for {mib * MIB}")
        require(lan < 2 * MIB, f"the LAN carried control alone: {lan} bytes")
        status = box.ask("network", "status")["connections"]
        seen = {(one["role"], one["host"]): one for one in status}
        log, state = seen["log-store", SITE], seen["state-store", GATEWAY]
        require(log["class"] == "private" and not log["proxy"] and log["address"].startswith(lab.PRIVATE),
                f"the log store is seen as private and direct: {log['address']}, {log['rule']}")
        require(f"{lab.PROXY}:3128" in state["proxy"], f"the state store is seen by the proxy: {state['proxy']}")

    def tunnels(self):
        """After the daemon has ended: squid writes its line when a tunnel closes."""
        hosts = self.lab.tunnels()
        require(GATEWAY in hosts and LOGIN in hosts, f"control went by the proxy: {sorted(hosts)}")
        require(SITE not in hosts, "no data went by the proxy")
        denied = [host for host, lines in hosts.items() for verdict, _ in lines if not verdict.endswith("/200")]
        require(not denied, f"the proxy denied nothing: {denied}")

    # ---- the circuit is cut ----

    def cut(self):
        box, mib = self.lab, 48
        path = self.image("second", mib)
        box.kedge("throttle", "set", str(8 * MIB))
        before = box.sent("circ")
        job = self.replicate("second")
        while box.sent("circ") - before < 10 * MIB:
            time.sleep(0.05)
        box.cut()  # silence
        at_cut = box.sent("circ") - before
        time.sleep(2)
        box.cut("reject with tcp reset")  # and then every connection breaks
        time.sleep(1)
        box.mend()
        box.kedge("throttle", "set", "0")
        self.finish(job, "second")
        sent = box.sent("circ") - before
        self.check_replica("second", path)
        jobs = [one["operation"] for one in box.ask("jobs", "--machine", "second")["jobs"]]
        require(jobs == ["replicate"], f"one job, one cycle: {jobs}")
        again = sent - mib * MIB
        bound = PUTTERS * SEGMENT + mib * MIB // 50  # headers of all layers: below 2 %
        require(again <= bound, f"cut at {at_cut} bytes; sent again, with all headers: {again} bytes, at most "
                                f"{bound} in flight and headers")


def main():
    lab.require()
    paths = Paths(sys.argv[1])
    try:
        paths.start()
        paths.separate()
        paths.cut()
        paths.lab.stop_kedged()
        paths.tunnels()
    except BaseException:
        print(paths.lab.read("kedged.log")[-6000:])
        raise
    finally:
        paths.lab.close()


main()
