// A certified OpenID provider for tests: oidc-provider over HTTPS, with the device authorization grant (RFC 8628).
//
//     node provider.mjs CONFIG.json
//
// The configuration, which tests/support/oidc.py writes:
//
//   issuer, listen {host, port}, key, cert     where it is; files in PEM
//   keys                                       a file for its signing keys; made if there is none, so that a restart keeps them
//   clients [{client_id, client_secret?, …}]   one without a secret is public (token_endpoint_auth_method none); one with
//                                              redirect_uris is for browsers too, which show PKCE (authorization code grant)
//   accounts {NAME: {email, groups, …}}        who can sign in, and with which claims; `sub` is NAME unless one is there;
//                                              `proof` {acr, amr} is what he shows then, by itself a password
//   control {port}                             where on 127.0.0.1 a test changes all this meanwhile; see `controls`
//   ttl {DeviceCode, IdToken, AccessToken}     seconds; optional
//   interval                                   seconds, told with each device code; who polls faster hears slow_down; optional
//   conformIdTokenClaims                       true, the default: email, groups and the rest come from userinfo alone;
//                                              false: they are in the ID token, too
//
// It is version 8.8.1 since Debian 12 has node 18: oidc-provider 9 calls URL.parse, which node has since 22.
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// scripts/setup --tests puts the packages there, where an import statement does not look.
const installed = createRequire(new URL('../../../build/node/', import.meta.url)).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(installed));

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const accounts = new Map(Object.entries(config.accounts));
const requests = {};                       // how many by path
let mode = 'up';                           // or 'unavailable': 503 to everything; or 'silent': no answer at all
let lie = null;                            // a name in `lies`

const say = (text) => process.stderr.write(`${new Date().toISOString()} ${text}\n`);

// -- signing keys --------------------------------------------------------------------------------------------------------
function newKeys() {
  const rsa = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ec = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  return [['RS256', rsa], ['ES256', ec]].map(([alg, key]) => (
    { ...key.export({ format: 'jwk' }), alg, use: 'sig', kid: crypto.randomBytes(8).toString('hex') }));
}

function keepKeys(made) {
  fs.writeFileSync(config.keys, JSON.stringify(made), { mode: 0o600 });
  return made;
}

let keys = fs.existsSync(config.keys) ? JSON.parse(fs.readFileSync(config.keys, 'utf8')) : keepKeys(newKeys());

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const opened = (part) => JSON.parse(Buffer.from(part, 'base64url'));

function signed(header, claims, from = keys) {
  const input = `${base64url(header)}.${base64url(claims)}`;
  const key = crypto.createPrivateKey({ format: 'jwk', key: from.find((k) => k.alg === header.alg) });
  return `${input}.${crypto.sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

// -- lies ----------------------------------------------------------------------------------------------------------------
const claims = (change) => ({
  token(body) {
    const [header, payload] = body.id_token.split('.').map((part, i) => (i < 2 ? opened(part) : null));
    body.id_token = signed(header, { ...payload, ...change(payload) });
  },
});

const wholeToken = (make) => ({
  token(body) {
    const [header, payload, signature] = body.id_token.split('.');
    body.id_token = make(opened(header), opened(payload), signature);
  },
});

const lies = {
  // About what the ID token says, signed with the right key:
  aud: claims(() => ({ aud: 'somebody-else' })),
  auds: claims(({ aud }) => ({ aud: [aud, 'somebody-else'], azp: 'somebody-else' })),
  iss: claims(() => ({ iss: 'https://elsewhere.example.com' })),
  expired: claims(({ exp }) => ({ iat: exp - 14400, auth_time: exp - 14400, exp: exp - 7200 })),
  future: claims(({ iat, exp }) => ({ iat: iat + 7200, nbf: iat + 7200, exp: exp + 7200 })),
  nonce: claims(() => ({ nonce: 'of-another-sign-in' })),
  nosub: claims(() => ({ sub: undefined })),
  noexp: claims(() => ({ exp: undefined })),
  // About who signed it:
  none: wholeToken((header, payload) => `${base64url({ alg: 'none', typ: 'JWT' })}.${base64url(payload)}.`),
  signature: wholeToken((header, payload, signature) => {
    const bytes = Buffer.from(signature, 'base64url');
    bytes[bytes.length >> 1] ^= 1;
    return `${base64url(header)}.${base64url(payload)}.${bytes.toString('base64url')}`;
  }),
  key: wholeToken((header, payload) => signed(header, payload, newKeys())),
  kid: wholeToken((header, payload) => signed({ ...header, kid: 'unheard-of' }, payload, newKeys())),
  hs256: wholeToken((header, payload) => {       // the public key, which everybody knows, taken for a secret
    const input = `${base64url({ ...header, alg: 'HS256' })}.${base64url(payload)}`;
    const key = crypto.createPublicKey({ format: 'jwk', key: keys.find((k) => k.kid === header.kid) });
    const secret = key.export({ format: 'pem', type: 'spki' });
    return `${input}.${crypto.createHmac('sha256', secret).update(input).digest('base64url')}`;
  }),
  // About the rest:
  no_id_token: { token(body) { delete body.id_token; } },
  access_token: { token(body) { body.access_token = 'of-somebody-else'; } },
  garbage: { token(body) { body.id_token = 'not.a.token'; } },
  userinfo_sub: { userinfo(body) { body.sub = 'somebody-else'; } },
  discovery_issuer: { discovery(body) { body.issuer = 'https://elsewhere.example.com'; } },
};

// -- the provider --------------------------------------------------------------------------------------------------------
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';

function makeProvider() {
  const provider = new Provider(config.issuer, {
    clients: config.clients.map((client) => ({
      grant_types: client.redirect_uris ? [DEVICE, 'authorization_code'] : [DEVICE],
      response_types: client.redirect_uris ? ['code'] : [],
      redirect_uris: [],
      token_endpoint_auth_method: client.client_secret ? 'client_secret_basic' : 'none',
      ...client,
    })),
    jwks: { keys },
    cookies: { keys: ['only a test'] },
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time'],
      email: ['email', 'email_verified'],
      profile: ['name'],
      groups: ['groups'],
    },
    scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
    acrValues: ['urn:example:password', 'urn:example:phr'],
    conformIdTokenClaims: config.conformIdTokenClaims ?? true,
    pkce: { methods: ['S256'], required: () => true },
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: false } },
    ttl: { AccessToken: 3600, IdToken: 3600, DeviceCode: 600, Grant: 86400, Interaction: 3600, Session: 86400, ...config.ttl },
    findAccount: (ctx, name) => accounts.has(name) && {
      accountId: name,
      claims: () => ({ sub: name, ...accounts.get(name) }),
    },
  });
  provider.on('server_error', (ctx, error) => say(error.stack));
  provider.use(interactions(provider));
  provider.use(changes);
  return provider;
}

const polled = new Map();                  // when each device code was asked for last

async function changes(ctx, next) {
  await next();
  const route = ctx.oidc?.route;
  const body = ctx.body;
  if (config.interval && route === 'device_authorization' && body?.device_code) body.interval = config.interval;
  if (config.interval && route === 'token' && body?.error === 'authorization_pending') {
    const code = ctx.oidc.params.device_code;
    const now = Date.now();
    if (now - (polled.get(code) ?? 0) < config.interval * 1000 - 100) {
      Object.assign(body, { error: 'slow_down', error_description: 'you are polling too quickly' });
    }
    polled.set(code, now);
  }
  if (ctx.status === 200 && lies[lie]?.[route]) lies[lie][route](body);
}

// -- what a person sees between the device code's pages, which are the package's own ---------------------------------------
const page = (title, form, uid) => `<!DOCTYPE html>
<title>${title}</title>
<h1>${title}</h1>
<form method="post" action="/interaction/${uid}">
${form}
<button name="answer" value="yes">Continue</button>
<button name="answer" value="no">Cancel</button>
</form>
`;

function interactions(provider) {
  return async (ctx, next) => {
    const [, uid] = /^\/interaction\/([\w-]+)$/.exec(ctx.path) ?? [];
    if (!uid) return next();
    const { prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
    const finish = async (result, more) => {
      ctx.status = 303;
      ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, more));
    };
    ctx.set('cache-control', 'no-store');
    ctx.type = 'html';
    const ask = (problem = '') => {
      ctx.body = prompt.name === 'login'
        ? page('Who are you?', `<p>${problem}</p><input type="text" name="account" autofocus>`, uid)
        : page('Do you consent?', `<p>${params.client_id} wants: ${params.scope}</p>
<input type="hidden" name="consent" value="yes">`, uid);
    };
    if (ctx.method === 'GET') return ask();

    const chunks = [];
    for await (const chunk of ctx.req) chunks.push(chunk);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    if (form.get('answer') !== 'yes') {
      return finish({ error: 'access_denied', error_description: 'End-User aborted interaction' },
                    { mergeWithLastSubmission: false });
    }
    if (prompt.name === 'login') {
      const accountId = form.get('account');
      if (!accounts.has(accountId)) return ask('There is no such account.');
      const { acr = 'urn:example:password', amr = ['pwd'] } = accounts.get(accountId).proof ?? {};
      return finish({ login: { accountId, acr, amr } }, { mergeWithLastSubmission: false });
    }
    const grant = (grantId && await provider.Grant.find(grantId))
      || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
    grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
    return finish({ consent: { grantId: await grant.save() } });
  };
}

// -- what a test can change ------------------------------------------------------------------------------------------------
let provider = makeProvider();
let answer = provider.callback();

const controls = {
  'POST /rotate': () => {                  // new keys, and the old ones are published no longer; codes and sessions stay:
    keys = keepKeys(newKeys());            // the package keeps them beside its providers
    provider = makeProvider();
    answer = provider.callback();
    return keys.map(({ kid }) => kid);
  },
  'POST /account': ({ name, claims: now }) => (now ? accounts.set(name, now) : accounts.delete(name), {}),
  'POST /mode': ({ now }) => {
    mode = now;
    return {};
  },
  'POST /lie': ({ kind }) => {
    if (kind && !lies[kind]) throw new Error(`there is no lie ${kind}, but: ${Object.keys(lies).join(' ')}`);
    lie = kind;
    return {};
  },
  'GET /requests': () => requests,
};

const control = http.createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  let status = 200;
  let said;
  try {
    const wanted = controls[`${req.method} ${req.url}`];
    if (!wanted) throw new Error(`there is no ${req.method} ${req.url}`);
    said = wanted(JSON.parse(Buffer.concat(chunks).toString() || '{}'));
    say(`control: ${req.method} ${req.url}`);
  } catch (error) {
    [status, said] = [400, error.message];
  }
  res.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(said));
});

const server = https.createServer({ key: fs.readFileSync(config.key), cert: fs.readFileSync(config.cert) }, (req, res) => {
  const path = req.url.split('?')[0];
  requests[path] = (requests[path] ?? 0) + 1;
  const from = req.socket.remoteAddress;
  res.on('close', () => say(`${from} ${req.method} ${req.url} ${res.writableFinished ? res.statusCode : 'cut off'}`));
  if (mode === 'silent') return;
  if (mode === 'unavailable') {
    res.writeHead(503, { 'content-type': 'text/plain', 'retry-after': '1' }).end('out of service\n');
    return;
  }
  answer(req, res);
});
server.on('tlsClientError', (error, socket) => say(`${socket.remoteAddress} TLS: ${error.message}`));

control.listen(config.control.port, '127.0.0.1', () => {
  server.listen(config.listen.port, config.listen.host, () => say(`${config.issuer} listens`));
});
process.on('SIGTERM', () => process.exit(0));
