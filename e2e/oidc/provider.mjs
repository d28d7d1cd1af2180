// A provider of OpenID Connect for tests: whoever comes is whom `?as=` says, without another question.
// Usage: node provider.mjs <folder with node_modules> <port> <redirect URI> <groups: {"subject": ["group"]}> [fresh: keys of its own]
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, port, redirect, groups, fresh] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(join(folder, 'node_modules/oidc-provider/lib/index.js')));
const memberships = JSON.parse(groups);

const configuration = {
  clients: [{ client_id: 'eddy', client_secret: 'the-secret-of-this-client', redirect_uris: [redirect] }],
  scopes: ['openid', 'groups'],
  claims: { groups: ['groups'] },
  cookies: { keys: [randomUUID()] },
  features: { devInteractions: { enabled: false } },
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: memberships[id] ?? [] }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // Nobody is asked what they let us know.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid groups');
    await grant.save();
    return grant;
  },
};
if (fresh) {
  const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  configuration.jwks = { keys: [{ ...jwk, kid: randomUUID(), use: 'sig', alg: 'RS256' }] };
}
const provider = new Provider(`http://127.0.0.1:${port}`, configuration);
const answer = provider.callback();
createServer(async (request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  if (!url.pathname.startsWith('/interaction/')) return answer(request, response);
  const as = url.searchParams.get('as');
  const said = as ? { login: { accountId: as } } : { error: 'access_denied', error_description: 'they did not want it' };
  await provider.interactionFinished(request, response, said, { mergeWithLastSubmission: false });
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
