// SPDX-License-Identifier: Apache-2.0
// A token issuer that checks what clients prove, by the npm package oidc-provider, laid out as Entra ID
// is: POST /TENANT/oauth2/v2.0/token. Clients: "by-secret" (secret "good secret + 1") and "by-certificate"
// (RS256 assertion by the key of the given certificate). The token is for the resource that the scope names.
// node issuer.mjs FOLDER_OF_OIDC_PROVIDER PORT SERVER_PEM CLIENT_PEM
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { X509Certificate } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [folder, port, serverPem, clientPem] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/lib/index.js`).href);
const resources = ['https://storage.azure.com', 'https://management.azure.com', 'https://vault.azure.net'];
const jwk = new X509Certificate(readFileSync(clientPem)).publicKey.export({ format: 'jwk' });
const client = (id, more) => ({
  client_id: id, grant_types: ['client_credentials'], response_types: [], redirect_uris: [], ...more,
});
const provider = new Provider('https://sts.windows.net/11111111-1111-1111-1111-111111111111/', {
  clients: [
    client('by-secret', { client_secret: 'good secret + 1', token_endpoint_auth_method: 'client_secret_post' }),
    client('by-certificate', {
      token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'RS256',
      jwks: { keys: [{ ...jwk, use: 'sig', alg: 'RS256' }] },
    }),
  ],
  clientAuthMethods: ['client_secret_post', 'private_key_jwt'],
  scopes: resources.map((resource) => `${resource}/.default`),
  routes: { token: '/tenant-1/oauth2/v2.0/token' },
  // The storage service's emulator wants to know from when on a token is good.
  formats: { customizers: { jwt: (ctx, token, parts) => { parts.payload.nbf = parts.payload.iat - 5; } } },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => resources.find((resource) => ctx.oidc.params.scope === `${resource}/.default`),
      getResourceServerInfo: (ctx, resource) => ({
        scope: `${resource}/.default`, audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 3600,
      }),
    },
  },
});
const pem = readFileSync(serverPem);
createServer({ cert: pem, key: pem }, provider.callback()).listen(Number(port), '127.0.0.1', () => {
  console.log('issuer listens');
});
