#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated Azure: what it refuses, network interfaces, virtual machines, permissions, listings."""
import unittest

from azure_lab import COMPUTE, DISKS, MIB, NETWORK, RESOURCES, Lab

CONFIG = {
    "storage_accounts": [{"name": "logs", "key": "a2V5", "endpoint": "https://127.0.0.1:1", "min_tls": "TLS1_0",
                          "public_blobs": True, "public_network": "Disabled"}],
    "private_endpoints": [{"name": "pe", "account": "logs", "state": "Pending", "address": "10.0.0.7"}],
    "networks": [{"name": "vnet", "subnets": [{"name": "default", "prefix": "10.0.0.0/24", "used": ["10.0.0.5"]},
                                              {"name": "small", "prefix": "10.0.1.0/29"}]}],
    "availability_sets": [{"name": "avset"}], "disk_encryption_sets": [{"name": "des"}],
    "restrictions": {"Standard_E2s_v5": "all", "Standard_E8s_v5": ["2"]},
    "clients": [{"id": "kedge", "secret": "s"}, {"id": "reader", "secret": "r", "roles": [{"actions": ["*/read"]}]}],
}


class Model(unittest.TestCase):
    def setUp(self):
        self.lab = Lab(CONFIG)
        self.lab.__enter__()
        self.addCleanup(self.lab.__exit__, None, None, None)

    def refused(self, code, status, method, path, version, body=None):
        """The answer is that refusal and nothing was made."""
        before = set(self.lab.inventory())
        got, _, answer = self.lab.call(method, path, version, body)
        self.assertEqual((got, answer["error"]["code"] if answer else None), (status, code), answer)
        self.assertEqual(set(self.lab.inventory()), before)

    def done(self, method, path, version, body=None):
        end, answer = self.lab.run(method, path, version, body)
        self.assertEqual(end, "Succeeded", answer)
        return answer


class Requests(Model):
    def test_access(self):
        path = self.lab.disk_id("d")
        good = self.lab.token
        self.lab.token = ""
        self.refused("AuthenticationFailed", 401, "GET", path, DISKS)
        self.lab.token = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB")
        self.refused("InvalidAuthenticationToken", 401, "GET", path, DISKS)
        self.lab.token = self.lab.get_token(scope="https://vault.azure.net/.default")
        self.refused("InvalidAuthenticationTokenAudience", 401, "GET", path, DISKS)
        self.lab.token = good
        self.refused("ResourceNotFound", 404, "GET", path, DISKS)
        self.lab.control("POST", "/tokens/revoke")
        self.refused("ExpiredAuthenticationToken", 401, "GET", path, DISKS)
        self.lab.token = self.lab.get_token()
        self.refused("ResourceNotFound", 404, "GET", path, DISKS)
        self.lab.control("POST", "/tokens/clock", {"skip_seconds": 3700})
        self.refused("ExpiredAuthenticationToken", 401, "GET", path, DISKS)
        for client, secret, status, code in (("kedge", "wrong", 401, "invalid_client"),
                                             ("nobody", "s", 400, "unauthorized_client")):
            got, _, answer = self.lab.get_token(client, secret, whole=True)
            self.assertEqual((got, answer["error"]), (status, code))

    def test_bad_requests(self):
        path, upload = self.lab.disk_id("d"), self.lab.upload_body(32 * MIB)
        self.refused("MissingApiVersionParameter", 400, "PUT", path, None, upload)
        self.refused("InvalidApiVersionParameter", 400, "PUT", path, "2031-01-01", upload)
        self.refused("ResourceGroupNotFound", 404, "PUT", self.lab.id("Microsoft.Compute/disks", "d", "nowhere"),
                     DISKS, upload)
        self.refused("SubscriptionNotFound", 404, "PUT", path.replace("2222", "3333"), DISKS, upload)
        for change, code, status in (
                ({"extra": 1}, "InvalidRequestContent", 400), ({"location": 5}, "InvalidRequestContent", 400),
                ({"location": None}, "InvalidParameter", 400),
                ({"location": "atlantis"}, "LocationNotAvailableForResourceType", 400),
                ({"tags": {"a": 1}}, "InvalidRequestContent", 400),
                ({"tags": {"a/b": "c"}}, "InvalidTagNameCharacters", 400),
                ({"zones": ["1", "2"]}, "InvalidParameter", 400), ({"zones": "1"}, "InvalidRequestContent", 400),
                ({"sku": {"name": "Fast"}}, "InvalidParameter", 400), ({"extendedLocation": {}}, "NotSimulated", 501),
                ({"sku": {"name": "Premium_ZRS"}, "zones": ["1"]}, "InvalidParameter", 400)):
            self.refused(code, status, "PUT", path, DISKS, {**upload, **change})
        for change, code, status in (
                ({"creationData": {}}, "InvalidParameter", 400), ({"osType": "Plan9"}, "InvalidParameter", 400),
                ({"creationData": {"createOption": "Upload"}}, "InvalidParameter", 400),
                ({"creationData": {"createOption": "Upload", "uploadSizeBytes": "33554944"}}, "InvalidRequestContent",
                 400),
                ({"creationData": {"createOption": "Upload", "uploadSizeBytes": 32 * MIB}}, "InvalidParameter", 400),
                ({"creationData": {"createOption": "Upload", "uploadSizeBytes": MIB + 512}}, "InvalidParameter", 400),
                ({"creationData": {"createOption": "Empty"}}, "NotSimulated", 501),
                ({"diskSizeGB": 5}, "InvalidParameter", 400),
                ({"encryption": {"diskEncryptionSetId": "/none"}}, "NotFound", 404)):
            body = {**upload, "properties": {**upload["properties"], **change}}
            self.refused(code, status, "PUT", path, DISKS, body)
        self.refused("InvalidParameter", 400, "PUT", self.lab.disk_id("d."), DISKS, upload)
        for kind, raw, status, code in (("application/json", b"{", 400, "InvalidRequestContent"),
                                        ("application/json", b"[]", 400, "InvalidRequestContent"),
                                        ("application/json", b"", 400, "InvalidRequestContent"),
                                        ("text/plain", b"{}", 415, "UnsupportedMediaType")):
            got, _, answer = self.lab.send("PUT", self.lab.url + path + "?api-version=" + DISKS, raw=raw, headers={
                "Authorization": "Bearer " + self.lab.token, "Content-Type": kind})
            self.assertEqual((got, answer["error"]["code"]), (status, code))

    def test_put_again(self):
        path, upload = self.lab.disk_id("d"), self.lab.upload_body(32 * MIB)
        self.done("PUT", path, DISKS, {**upload, "tags": {"a": "1"}})
        self.done("PUT", path.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), DISKS,
                  {**upload, "tags": {"a": "2"}})
        self.assertEqual(len(self.lab.inventory()), 1)
        self.assertEqual(self.lab.inventory()["d"]["tags"], {"a": "2"})
        self.refused("PropertyChangeNotAllowed", 409, "PUT", path, DISKS, self.lab.upload_body(64 * MIB))
        self.refused("InvalidResourceLocation", 409, "PUT", path, DISKS, {**upload, "location": "eastus"})
        self.done("DELETE", path, DISKS)
        self.assertEqual(self.lab.call("DELETE", path, DISKS)[0], 204)

    def test_while_busy(self):
        """The same request again joins; another one is refused; a delete waits its turn."""
        path, upload = self.lab.disk_id("d"), self.lab.upload_body(32 * MIB)
        self.lab.control("POST", "/settings", {"operation_ms": 600000})
        first = self.lab.call("PUT", path, DISKS, upload)
        again = self.lab.call("PUT", path, DISKS, upload)
        self.assertEqual(first[1]["Azure-AsyncOperation"], again[1]["Azure-AsyncOperation"])
        self.refused("AnotherOperationInProgress", 409, "PUT", path, DISKS, {**upload, "tags": {"x": "y"}})
        self.refused("AnotherOperationInProgress", 409, "DELETE", path, DISKS)
        poll = self.lab.call("GET", first[1]["Azure-AsyncOperation"], None)
        self.assertEqual((poll[0], poll[2]["status"]), (200, "InProgress"))
        self.assertEqual(self.lab.call("GET", first[1]["Location"], None)[0], 202)
        self.assertEqual(self.lab.control("POST", "/cancel", {"path": "/disks/d"}), {"canceled": 1})
        while self.lab.call("GET", first[1]["Azure-AsyncOperation"], None)[2]["status"] == "InProgress":
            pass
        self.assertEqual(self.lab.call("GET", first[1]["Azure-AsyncOperation"], None)[2]["status"], "Canceled")
        self.assertEqual(self.lab.call("GET", first[1]["Azure-AsyncOperation"].replace("p=", "p=x"), None)[0], 404)

    def test_roles(self):
        self.lab.token = self.lab.get_token("reader", "r")
        self.refused("AuthorizationFailed", 403, "PUT", self.lab.disk_id("d"), DISKS, self.lab.upload_body(32 * MIB))
        permissions = self.lab.group + "/providers/Microsoft.Authorization/permissions"
        self.assertEqual(self.lab.call("GET", permissions, "2022-04-01")[2]["value"][0]["actions"], ["*/read"])
        self.lab.control("POST", "/roles", {"client": "reader", "roles": [
            {"scope": self.lab.group, "actions": ["Microsoft.Network/*"],
             "notActions": ["Microsoft.Network/virtualNetworks/subnets/join/action"]}]})
        self.refused("LinkedAuthorizationFailed", 403, "PUT", self.lab.nic_id("n"), NETWORK, self.lab.nic_body())
        self.assertEqual(self.lab.call("GET", self.lab.subscription + "/providers/Microsoft.Authorization/permissions",
                                       "2022-04-01")[2],
                         {"value": []})

    def test_listing(self):
        self.lab.control("POST", "/settings", {"page_items": 2})
        for number in range(5):
            self.done("PUT", self.lab.disk_id(f"d{number}"), DISKS,
                      {**self.lab.upload_body(32 * MIB), "tags": {"Kedge": f"it's {number % 2}"}})
        self.done("PUT", self.lab.nic_id("n"), NETWORK, self.lab.nic_body())

        def listed(query):
            names, url = [], self.lab.group + "/resources?$filter=" + query.replace(" ", "%20")
            while url:
                status, _, answer = self.lab.call("GET", url, RESOURCES if not url.startswith("http") else None)
                self.assertEqual(status, 200, answer)
                names, url = names + [r["name"] for r in answer["value"]], answer.get("nextLink")
            return sorted(names)
        # The lab quotes the path itself, so the filter is given here as it is.
        self.lab.call = (lambda call: lambda method, path, version,
                         *rest: call(method, path.replace("%20", " "), version, *rest))(self.lab.call)
        self.assertEqual(listed("tagName eq 'kedge'"), ["d0", "d1", "d2", "d3", "d4"])
        self.assertEqual(listed("tagName eq 'kedge' and tagValue eq 'it''s 1'"), ["d1", "d3"])
        self.assertEqual(listed("resourceType eq 'microsoft.network/networkinterfaces'"), ["n"])
        self.refused("InvalidFilterInQueryString", 400, "GET", self.lab.group + "/resources?$filter=tagName ne 'x'",
                     RESOURCES)


    def test_configured(self):
        """What the configuration says is there is shown, and no inventory of requests has it."""
        account = self.lab.call("GET", self.lab.id("Microsoft.Storage/storageAccounts", "logs"),
                                "2023-05-01")[2]["properties"]
        self.assertEqual([account[key] for key in ("minimumTlsVersion", "allowBlobPublicAccess",
                                                   "publicNetworkAccess")],
                         ["TLS1_0", True, "Disabled"])
        connection = account["privateEndpointConnections"][0]["properties"]
        self.assertEqual(connection["privateLinkServiceConnectionState"]["status"], "Pending")
        endpoint = self.lab.call("GET", connection["privateEndpoint"]["id"], NETWORK)[2]["properties"]
        self.assertEqual(endpoint["customDnsConfigs"],
                         [{"fqdn": "logs.blob.core.windows.net", "ipAddresses": ["10.0.0.7"]}])
        self.assertEqual(endpoint["privateLinkServiceConnections"][0]["properties"]["groupIds"], ["blob"])
        skus = self.lab.subscription + "/providers/Microsoft.Compute/skus?$filter=location eq 'westeurope'"
        self.lab.control("POST", "/settings", {"page_items": 1000})
        listed = {s["name"]: s for s in self.lab.call("GET", skus, "2021-07-01")[2]["value"]}
        self.assertEqual(listed["Standard_E2s_v5"]["restrictions"][0]["type"], "Location")
        self.assertEqual(listed["Standard_E8s_v5"]["restrictions"][0]["restrictionInfo"]["zones"], ["2"])
        self.assertEqual(listed["Standard_D2s_v5"]["restrictions"], [])
        self.assertEqual(self.lab.inventory(), {})
        self.refused("ResourceNotFound", 404, "GET", self.lab.id("Microsoft.Network/virtualNetworks", "none"), NETWORK)
        self.refused("NotFound", 404, "GET", self.lab.subnet_id("none"), NETWORK)


class Nics(Model):
    def put(self, name, code, **body):
        self.refused(code, 400, "PUT", self.lab.nic_id(name), NETWORK, self.lab.nic_body(**body))

    def test_addresses(self):
        def address(answer):
            return answer["properties"]["output"]["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
        self.assertEqual(address(self.done("PUT", self.lab.nic_id("a"), NETWORK, self.lab.nic_body())), "10.0.0.4")
        self.assertEqual(address(self.done("PUT", self.lab.nic_id("b"), NETWORK, self.lab.nic_body())),
                         "10.0.0.6")     # .5 is taken
        self.assertEqual(address(self.done("PUT", self.lab.nic_id("c"), NETWORK, self.lab.nic_body("10.0.0.77"))),
                         "10.0.0.77")
        self.assertEqual(address(self.done("PUT", self.lab.nic_id("c"), NETWORK, self.lab.nic_body("10.0.0.77"))),
                         "10.0.0.77")
        self.put("d", "PrivateIPAddressInUse", address="10.0.0.77")
        self.put("d", "PrivateIPAddressInUse", address="10.0.0.5")
        self.put("d", "PrivateIPAddressNotInSubnet", address="10.0.1.4")
        self.put("d", "PrivateIPAddressInReservedRange", address="10.0.0.3")
        self.put("d", "PrivateIPAddressInReservedRange", address="10.0.0.255")
        self.put("d", "InvalidIPAddressFormat", address="10.0.0.400")
        self.put("d", "InvalidResourceReference", subnet="nowhere")
        self.put("d", "InvalidResourceReference",
                 networkSecurityGroup={"id": self.lab.id("Microsoft.Network/networkSecurityGroups", "none")})
        for name in "xyz":
            self.done("PUT", self.lab.nic_id(name), NETWORK, self.lab.nic_body(subnet="small"))
        self.put("full", "SubnetIsFull", subnet="small")
        self.done("DELETE", self.lab.nic_id("y"), NETWORK)
        self.assertEqual(address(self.done("PUT", self.lab.nic_id("full"), NETWORK,
                                           self.lab.nic_body(subnet="small"))), "10.0.1.5")


class Machines(Model):
    def setUp(self):
        super().setUp()
        self.os = self.lab.stranger_disk("os", osType="Linux", hyperVGeneration="V2")
        self.data = [self.lab.stranger_disk(f"data{n}") for n in range(5)]
        for name in "ab":
            self.done("PUT", self.lab.nic_id(name), NETWORK, self.lab.nic_body())
        self.nics = [self.lab.nic_id(name) for name in "ab"]

    def vm(self, code, status, disks=None, nics=None, change=None, **properties):
        body = self.lab.vm_body(disks or [self.os], nics or self.nics[:1], **properties)
        self.refused(code, status, "PUT", self.lab.vm_id("vm"), COMPUTE, {**body, **(change or {})})

    def test_refused(self):
        self.vm("InvalidParameter", 400, size="Standard_Huge")
        self.vm("SkuNotAvailable", 409, size="Standard_E2s_v5")
        self.vm("BadRequest", 400, size="Standard_A2_v2")                      # V1 only
        self.vm("OperationNotAllowed", 409, [self.os, *self.data])             # five data disks, the size takes four
        self.vm("NotFound", 404, [self.os, self.lab.disk_id("none")])
        self.vm("InvalidParameter", 400, [self.os, self.data[0], self.data[0]])
        self.vm("InvalidParameter", 400, [self.os], change={"zones": ["1"]})   # the disk is in none
        self.vm("InvalidParameter", 400, [self.os], change={"location": "eastus"})
        self.vm("InvalidResourceReference", 400, nics=[self.lab.nic_id("none")])
        self.vm("InvalidParameter", 400, nics=[self.nics[0], self.nics[0]])
        self.vm("InvalidParameter", 400, nics=[*self.nics, self.lab.nic_id("none")])     # three, the size takes two
        self.vm("InvalidParameter", 400, osProfile={})
        self.vm("InvalidParameter", 400, licenseType="Windows_Server")
        self.vm("NotFound", 404, availabilitySet={"id": self.lab.id("Microsoft.Compute/availabilitySets", "none")})
        self.vm("InvalidParameter", 400, [self.lab.stranger_disk("win", osType="Windows", hyperVGeneration="V2")])
        self.vm("OperationNotAllowed", 409, [self.lab.stranger_disk("up", osType="Linux", diskState="ActiveUpload")])
        body = self.lab.vm_body([self.os, *self.data[:2]], self.nics[:1])
        body["properties"]["storageProfile"]["dataDisks"][1]["lun"] = 0
        self.refused("InvalidParameter", 400, "PUT", self.lab.vm_id("vm"), COMPUTE, body)
        body = self.lab.vm_body([self.os], self.nics)
        for nic in body["properties"]["networkProfile"]["networkInterfaces"]:
            nic["properties"]["primary"] = True
        self.refused("VirtualMachineMustHaveOneNetworkInterfaceAsPrimary", 400, "PUT", self.lab.vm_id("vm"), COMPUTE,
                     body)
        self.refused("InvalidParameter", 400, "PUT", self.lab.vm_id("vm-"), COMPUTE,
                     self.lab.vm_body([self.os], self.nics[:1]))
        self.lab.control("POST", "/settings", {"quotas": {"standardDSv5Family": 1}})
        self.vm("OperationNotAllowed", 409)
        self.lab.control("POST", "/settings", {"quotas": {"standardDSv5Family": None, "cores": 1}})
        self.vm("OperationNotAllowed", 409)

    def test_life(self):
        path, disks = self.lab.vm_id("vm"), [self.os, *self.data[:2]]
        self.done("PUT", path, COMPUTE, self.lab.vm_body(disks, self.nics))
        state = self.lab.call("GET", path + "/instanceView", COMPUTE)[2]
        self.assertEqual([s["code"] for s in state["statuses"]], ["ProvisioningState/succeeded", "PowerState/running"])
        self.assertEqual(self.disk_states(disks), ["Attached"] * 3)
        shown = self.lab.call("GET", path, COMPUTE)[2]["properties"]
        self.assertEqual([d["lun"] for d in shown["storageProfile"]["dataDisks"]], [0, 1])
        self.refused("OperationNotAllowed", 409, "DELETE", self.os, DISKS)
        self.refused("NicInUse", 400, "DELETE", self.nics[0], NETWORK)
        body = self.lab.vm_body(disks, self.nics)
        self.refused("ConflictingUserInput", 409, "PUT", self.lab.vm_id("other"), COMPUTE,
                     self.lab.vm_body([self.os], self.nics[:1]))
        self.refused("PropertyChangeNotAllowed", 409, "PUT", path, COMPUTE, self.lab.vm_body([self.data[3]], self.nics))
        self.assertEqual(self.lab.call("PUT", path, COMPUTE, {**body, "tags": {"a": "b"}})[0], 200)
        self.done("POST", path + "/deallocate", COMPUTE)
        self.assertEqual(self.disk_states(disks), ["Reserved"] * 3)
        self.done("POST", path + "/start", COMPUTE)
        self.done("POST", path + "/powerOff", COMPUTE)
        state = self.lab.call("GET", path + "/instanceView", COMPUTE)[2]
        self.assertEqual(state["statuses"][1]["code"], "PowerState/stopped")
        self.assertEqual(self.lab.call("GET", path + "?$expand=instanceView",
                                       COMPUTE)[2]["properties"]["instanceView"]["statuses"][1]["code"],
                         "PowerState/stopped")
        self.done("DELETE", path, COMPUTE)
        self.assertEqual(self.disk_states(disks), ["Unattached"] * 3)
        self.done("DELETE", self.nics[0], NETWORK)
        self.assertEqual(self.lab.call("DELETE", path, COMPUTE)[0], 204)

    def disk_states(self, disks):
        return [self.lab.call("GET", disk, DISKS)[2]["properties"]["diskState"] for disk in disks]

    def test_delete_option(self):
        body = self.lab.vm_body([self.os, self.data[0]], self.nics[:1])
        body["properties"]["storageProfile"]["osDisk"]["deleteOption"] = "Delete"
        body["properties"]["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = "Delete"
        self.done("PUT", self.lab.vm_id("vm"), COMPUTE, body)
        self.done("DELETE", self.lab.vm_id("vm"), COMPUTE)
        self.assertEqual([self.lab.call("GET", i, v)[0] for i,
                          v in ((self.os, DISKS), (self.data[0], DISKS), (self.nics[0], NETWORK))],
                         [404, 200, 404])

    def test_diagnostics(self):
        self.done("PUT", self.lab.vm_id("vm"), COMPUTE, self.lab.vm_body([self.os], self.nics[:1]))
        addresses = self.lab.call("POST", self.lab.vm_id("vm") + "/retrieveBootDiagnosticsData", COMPUTE)[2]
        self.assertIn(b"nothing was booted", self.lab.send("GET", addresses["serialConsoleLogBlobUri"])[2])
        self.assertEqual(self.lab.send("GET", addresses["consoleScreenshotBlobUri"])[2][:4], b"\x89PNG")
        self.assertEqual(self.lab.send("GET", addresses["consoleScreenshotBlobUri"] + "0")[0], 403)


if __name__ == "__main__":
    unittest.main()
