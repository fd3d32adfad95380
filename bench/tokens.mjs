// Makes the issuer of the benchmarks: a key, its set of public keys, and a token for each of N principals.
// Usage: node tokens.mjs FOLDER ISSUER NUMBER
import { createSign, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';

const [folder, issuer, number] = process.argv.slice(2);
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = Math.floor(Date.now() / 1000);

const header = encode({ alg: 'RS256', typ: 'at+jwt', kid: 'bench' });
const tokens = Array.from({ length: Number(number) }, (_, index) => {
  const claims = encode({
    iss: issuer,
    sub: `consumer-${String(index).padStart(4, '0')}`,
    aud: ['ftgo-mobile', 'ftgo-web'],
    iat: now,
    exp: now + 86_400,
    jti: `token-${index}`,
    scope: 'orders:read orders:write',
    roles: ['consumer'],
  });
  const signature = createSign('RSA-SHA256').update(`${header}.${claims}`).sign(privateKey, 'base64url');
  return `${header}.${claims}.${signature}`;
});

writeFileSync(`${folder}/tokens.txt`, tokens.join('\n') + '\n');
writeFileSync(`${folder}/issuer.pem`, publicKey.export({ type: 'spki', format: 'pem' }));
writeFileSync(`${folder}/issuer.der`, publicKey.export({ type: 'spki', format: 'der' }));
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'RS256', use: 'sig' };
writeFileSync(`${folder}/jwks.json`, JSON.stringify({ keys: [jwk] }));
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' });
// A folder of its own: a gateway watches its keys' folder, and the run writes logs beside it.
mkdirSync(`${folder}/keys`, { recursive: true });
writeFileSync(`${folder}/keys/gateway.pem`, signing.privateKey.export({ type: 'pkcs8', format: 'pem' }));
