// njs: checks a bearer token (RS256) as a subrequest of nginx-edge.conf. njs makes its world anew for each request, so the
// key is read and imported each time.
import fs from 'fs';

async function check(request) {
  const folder = request.variables.keys;
  const bearer = request.headersIn.Authorization || '';
  const parts = bearer.slice(7).split('.');
  if (!bearer.startsWith('Bearer ') || parts.length !== 3) {
    request.return(401);
    return;
  }
  const spki = fs.readFileSync(`${folder}/issuer.der`);
  const key = await crypto.subtle.importKey('spki', spki, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['verify']);
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
  const genuine = await crypto.subtle.verify('RSASSA-PKCS1-v1_5', key, Buffer.from(parts[2], 'base64url'), signed);
  const claims = genuine && JSON.parse(Buffer.from(parts[1], 'base64url').toString());
  const issuer = fs.readFileSync(`${folder}/issuer.txt`).toString();
  const valid = genuine && claims.iss === issuer && claims.exp > Date.now() / 1000 && claims.aud.includes('ftgo-web');
  request.return(valid ? 204 : 401);
}

// The limit of each caller is counted before the token is checked: nginx's order of phases.
function subject(request) {
  const payload = (request.headersIn.Authorization || '').split('.')[1];
  return payload ? JSON.parse(Buffer.from(payload, 'base64url').toString()).sub : '';
}

export default { check, subject };
