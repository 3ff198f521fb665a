// The certified OpenID provider, for tests: anybody may log in with any
// password. Its options come as JSON in the first argument, its address goes to
// standard output when it listens.
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const options = JSON.parse(process.argv[2]);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: options.kid };

const provider = new Provider(options.issuer, {
  clients: options.clients,
  jwks: { keys: [jwk] },
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true, methods: ['S256'] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], email: ['email'], profile: ['name'], groups: ['groups'] },
  conformIdTokenClaims: options.claimsOnlyInUserInfo,
  ttl: { IdToken: options.idTokenSeconds, AccessToken: 600, RefreshToken: 3600, Session: 600, Grant: 3600, Interaction: 600, AuthorizationCode: 60 },
  features: { devInteractions: { enabled: true }, claimsParameter: { enabled: true } },
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  findAccount: async (_, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id, email: `${id}@example.com`, name: id,
      ...(options.groupsElsewhere
        ? { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: options.groupsElsewhere } } }
        : { groups: ['everyone', `${id}-team`] }),
    }),
  }),
});

const url = new URL(options.issuer);
provider.listen(Number(url.port), url.hostname, () => console.log(options.issuer));
