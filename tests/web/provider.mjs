// oidc-provider, a certified OpenID provider, on `localhost`: for browsers another site than a BFF on 127.0.0.1. It knows one
// client, whose origin is in ORIGIN, and signs everybody in under the name that they give. What it does it says on standard
// output, one JSON object a line; it ends when its standard input does.
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const server = createServer((request, response) => handle(request, response))
await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
const issuer = `http://localhost:${server.address().port}`
const origin = process.env.ORIGIN

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'web-client',
      client_secret: 'a secret/with+marks',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: [`${origin}/bff/callback`],
      post_logout_redirect_uris: [`${origin}/`],
      backchannel_logout_uri: `${origin}/bff/backchannel`,
      backchannel_logout_session_required: true,
    },
  ],
  cookies: { keys: ['for tests'] },
  scopes: ['openid', 'offline_access', 'orders:read', 'orders:write'],
  claims: { openid: ['sub', 'roles', 'name'] },
  conformIdTokenClaims: false,
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, roles: ['consumer'], name: `Somebody called ${id}` }),
  }),
  features: {
    backchannelLogout: { enabled: true },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: Number(process.env.TOKEN_LIFE ?? 3), IdToken: 60, RefreshToken: 600, Session: 600, Grant: 600, Interaction: 60 },
  // Its own one refuses loopback addresses.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
})
provider.on('grant.success', (context) => say({ event: 'grant', type: context.oidc.params.grant_type }))
provider.on('grant.error', (context, error) => say({ event: 'grant refused', error: error.error, why: error.error_description }))
provider.on('refresh_token.consumed', () => say({ event: 'refresh token consumed' }))
provider.on('grant.revoked', () => say({ event: 'grant revoked' }))
provider.on('refresh_token.destroyed', () => say({ event: 'refresh token destroyed' }))
provider.on('backchannel.success', () => say({ event: 'backchannel' }))
provider.on('backchannel.error', (_context, error) => say({ event: 'backchannel refused', why: String(error) }))
provider.on('server_error', (_context, error) => say({ event: 'error', why: String(error?.stack ?? error) }))

const handle = provider.callback()
say({ event: 'listening', issuer })
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
