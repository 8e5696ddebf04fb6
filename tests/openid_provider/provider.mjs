// A hospital's OpenID provider with a few people, on 127.0.0.1: node provider.mjs SETTINGS.json
// Prints "listening" and runs until it is ended. Whoever knows a name comes in: it knows no passwords.
import { readFileSync } from 'node:fs';

import Provider from 'oidc-provider';

const { port, hubUrl, secret, method, people, claimsInToken } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'wardhub',
      ...(secret ? { client_secret: secret } : {}),
      token_endpoint_auth_method: method,
      redirect_uris: [`${hubUrl}/api/v1/session/oidc/callback`],
      post_logout_redirect_uris: [`${hubUrl}/`],
    },
  ],
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'groups'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    groups: ['groups'],
    auth_time: null,
  },
  conformIdTokenClaims: !claimsInToken,
  findAccount: (_context, id) =>
    people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  // The hospital's own program needs nobody's consent.
  async loadExistingGrant(context) {
    const { client, session, provider } = context.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid profile groups');
    await grant.save();
    return grant;
  },
  cookies: { keys: ['for tests'] },
});

provider.listen(port, '127.0.0.1', () => console.log('listening'));
