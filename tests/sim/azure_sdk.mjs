// SPDX-License-Identifier: Apache-2.0
// Drives the simulated Azure by Microsoft's own client libraries: sign-in, disk by import, disk by upload, network interface,
// virtual machine, boot diagnostics, snapshot, listings, deletion. Every wait for an operation is the library's.
// node azure_sdk.mjs FOLDER_OF_NODE_MODULES READY_JSON SEED_URL FOOTER_HEX; NODE_EXTRA_CA_CERTS names the certificates.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';

const [modules, readyFile, seedUrl, footerHex] = process.argv.slice(2);
const load = (name) => createRequire(`${modules}/`)(name);
const { ClientSecretCredential } = load('@azure/identity');
const { ComputeManagementClient } = load('@azure/arm-compute');
const { NetworkManagementClient } = load('@azure/arm-network');
const { StorageManagementClient } = load('@azure/arm-storage');
const { ResourceManagementClient } = load('@azure/arm-resources');
const { AuthorizationManagementClient } = load('@azure/arm-authorization');
const { PageBlobClient } = load('@azure/storage-blob');

const ready = JSON.parse(readFileSync(readyFile));
const secret = readFileSync(ready.secret_file, 'utf8');
const credential = new ClientSecretCredential(ready.tenant, ready.client, secret,
  { authorityHost: ready.url, disableInstanceDiscovery: true });
const options = { endpoint: ready.url, credentialScopes: ['https://management.azure.com/.default'] };
const compute = new ComputeManagementClient(credential, ready.subscription, options);
const network = new NetworkManagementClient(credential, ready.subscription, options);
const storage = new StorageManagementClient(credential, ready.subscription, options);
const resources = new ResourceManagementClient(credential, ready.subscription, options);
const authorization = new AuthorizationManagementClient(credential, ready.subscription, options);
const group = 'rg-target';
const location = 'westeurope';
const quick = { updateIntervalInMs: 50 };
const tags = { 'kedge-machine': 'm1' };
const all = async (pages) => { const found = []; for await (const item of pages) found.push(item); return found; };

const account = await storage.storageAccounts.getProperties(group, 'seed');
assert.equal(account.minimumTlsVersion, 'TLS1_2');
assert.equal(account.enableHttpsTrafficOnly, true);

const imported = await compute.disks.beginCreateOrUpdateAndWait(group, 'os', {
  location, tags, osType: 'Linux', hyperVGeneration: 'V2', sku: { name: 'StandardSSD_LRS' },
  creationData: { createOption: 'Import', sourceUri: seedUrl, storageAccountId: account.id },
}, quick);
assert.equal(imported.provisioningState, 'Succeeded');
assert.equal(imported.diskState, 'Unattached');

const footer = Buffer.from(footerHex, 'hex');
const size = Number(footer.readBigUInt64BE(48));
await compute.disks.beginCreateOrUpdateAndWait(group, 'data', {
  location, tags, creationData: { createOption: 'Upload', uploadSizeBytes: size + 512 },
}, quick);
const access = await compute.disks.beginGrantAccessAndWait(group, 'data', { access: 'Write', durationInSeconds: 3600 }, quick);
const blob = new PageBlobClient(access.accessSAS);
await blob.uploadPages(Buffer.alloc(4096, 0x42), 1 << 20, 4096);
await blob.uploadPages(footer, size, 512);
await compute.disks.beginRevokeAccessAndWait(group, 'data', quick);
const uploaded = await compute.disks.get(group, 'data');
assert.equal(uploaded.diskState, 'Unattached');
assert.equal(uploaded.diskSizeBytes, size);
await assert.rejects(blob.uploadPages(footer, 0, 512), (e) => e.statusCode === 403 || e.statusCode === 404);

const subnet = await network.subnets.get(group, 'vnet', 'default');
const nsg = await network.networkSecurityGroups.get(group, 'nsg');
const nic = await network.networkInterfaces.beginCreateOrUpdateAndWait(group, 'nic1', {
  location, tags, networkSecurityGroup: { id: nsg.id },
  ipConfigurations: [{ name: 'ipconfig1', subnet: { id: subnet.id }, privateIPAllocationMethod: 'Static', privateIPAddress: '10.0.0.20' }],
}, quick);
assert.equal(nic.ipConfigurations[0].privateIPAddress, '10.0.0.20');
await assert.rejects(network.networkInterfaces.beginCreateOrUpdateAndWait(group, 'nic2', {
  location, ipConfigurations: [{ name: 'c', subnet: { id: subnet.id }, privateIPAllocationMethod: 'Static', privateIPAddress: '10.0.0.20' }],
}, quick), (e) => e.code === 'PrivateIPAddressInUse');

const body = {
  location, tags, hardwareProfile: { vmSize: 'Standard_D2s_v5' },
  storageProfile: {
    osDisk: { osType: 'Linux', createOption: 'Attach', managedDisk: { id: imported.id } },
    dataDisks: [{ lun: 0, createOption: 'Attach', managedDisk: { id: uploaded.id } }],
  },
  networkProfile: { networkInterfaces: [{ id: nic.id, primary: true }] },
  diagnosticsProfile: { bootDiagnostics: { enabled: true } },
};
const vm = await compute.virtualMachines.beginCreateOrUpdateAndWait(group, 'vm1', body, quick);
assert.equal(vm.provisioningState, 'Succeeded');
const view = await compute.virtualMachines.instanceView(group, 'vm1');
assert.ok(view.statuses.some((s) => s.code === 'PowerState/running'));
const diagnostics = await compute.virtualMachines.retrieveBootDiagnosticsData(group, 'vm1');
assert.ok(diagnostics.serialConsoleLogBlobUri.startsWith('https://'));
await assert.rejects(compute.disks.beginDeleteAndWait(group, 'os', quick), (e) => e.statusCode === 409);

const snapshot = await compute.snapshots.beginCreateOrUpdateAndWait(group, 'snap', {
  location, tags, incremental: true, creationData: { createOption: 'Copy', sourceResourceId: imported.id },
}, quick);
const copied = await compute.disks.beginCreateOrUpdateAndWait(group, 'copy', {
  location, tags, creationData: { createOption: 'Copy', sourceResourceId: snapshot.id },
}, quick);
assert.equal(copied.osType, 'Linux');

const ours = await all(resources.resources.listByResourceGroup(group, { filter: "tagName eq 'kedge-machine' and tagValue eq 'm1'" }));
assert.deepEqual(ours.map((r) => r.name).sort(), ['copy', 'data', 'nic1', 'os', 'snap', 'vm1']);
const permissions = await all(authorization.permissions.listForResourceGroup(group));
assert.deepEqual(permissions[0].actions, ['*']);
const skus = await all(compute.resourceSkus.list({ filter: `location eq '${location}'` }));
assert.ok(skus.some((s) => s.name === 'Standard_D2s_v5' && s.capabilities.some((c) => c.name === 'HyperVGenerations')));
const usages = await all(compute.usageOperations.list(location));
assert.equal(usages.find((u) => u.name.value === 'cores').currentValue, 2);
assert.ok((await all(compute.virtualMachineSizes.list(location))).length > 5);

await compute.virtualMachines.beginPowerOffAndWait(group, 'vm1', quick);
await compute.virtualMachines.beginStartAndWait(group, 'vm1', quick);
await compute.virtualMachines.beginDeallocateAndWait(group, 'vm1', quick);
assert.equal((await compute.disks.get(group, 'os')).diskState, 'Reserved');
await compute.virtualMachines.beginDeleteAndWait(group, 'vm1', quick);
await network.networkInterfaces.beginDeleteAndWait(group, 'nic1', quick);
for (const name of ['os', 'data', 'copy']) await compute.disks.beginDeleteAndWait(group, name, quick);
await compute.snapshots.beginDeleteAndWait(group, 'snap', quick);
await assert.rejects(compute.disks.get(group, 'os'), (e) => e.statusCode === 404 && e.code === 'ResourceNotFound');
assert.deepEqual(await all(resources.resources.listByResourceGroup(group, { filter: "tagName eq 'kedge-machine'" })), []);
console.log('ok');
