// Builds the pages of the browsers' BFF into a folder: bundles with hashes in their names, the same in br and gzip, HTML
// with the names filled in, a manifest, and the licences of what is bundled. The same sources and package-lock.json give the
// same bytes on every machine; only what br and gzip make of them differs between versions of Node, so files that still
// decode to the right content are left as they are.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { schemaTypes } from './schema.mjs';

export const here = dirname(fileURLToPath(import.meta.url));
export const assets = join(here, '..', 'assets');

const MEDIA_TYPES = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

// Pictures and scripts come from here alone, so fonts that packages carry inside their CSS have to go: 300 kB in base64.
const withoutEmbeddedFonts = {
  name: 'without-embedded-fonts',
  setup(bundle) {
    bundle.onLoad({ filter: /node_modules[/\\].*graphi?ql.*\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/@font-face\s*\{[^}]*\}/g, ''),
      loader: 'css',
    }));
  },
};

async function bundle(into) {
  const result = await build({
    absWorkingDir: here,
    entryPoints: {
      storefront: 'src/storefront/main.tsx',
      'storefront-style': 'src/storefront/style.css',
      graphiql: 'src/graphiql/main.tsx',
      'graphiql-style': 'src/graphiql/style.css',
      icon: 'src/icon.svg',
    },
    outdir: into,
    publicPath: '/assets',
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['es2022'],
    legalComments: 'none',
    metafile: true,
    write: false,
    define: { 'process.env.NODE_ENV': '"production"' },
    loader: { '.woff2': 'file', '.svg': 'copy' },
    plugins: [withoutEmbeddedFonts],
    logLevel: 'warning',
  });
  return {
    files: result.outputFiles.map((file) => ({ name: basename(file.path), bytes: Buffer.from(file.contents) })),
    inputs: Object.keys(result.metafile.inputs),
  };
}

// "storefront.js" → "storefront-1A2B3C4D.js".
function logical(name) {
  return name.replace(/-[0-9A-Z]{8}(\.[a-z0-9]+)$/, '$1');
}

function page(template, names) {
  return readFileSync(join(here, template), 'utf8').replace(/\{([a-z0-9.-]+\.[a-z0-9]+)\}/g, (_, wanted) => {
    const found = names.find((name) => logical(name) === wanted);
    if (!found) throw new Error(`${template}: there is no ${wanted}`);
    return `/assets/${found}`;
  });
}

function licences(inputs) {
  const packages = new Map();
  for (const input of inputs) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match) packages.set(match[1], JSON.parse(readFileSync(join(here, match[1], 'package.json'), 'utf8')));
  }
  const sections = [...packages].map(([folder, { name, version, license }]) => {
    const file = readdirSync(join(here, folder)).find((entry) => /^(licen[cs]e|copying)(\.|$)/i.test(entry));
    const text = file ? readFileSync(join(here, folder, file), 'utf8').replace(/\r\n/g, '\n').trim() : '(the package has no file of its licence)';
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  const line = `\n${'-'.repeat(80)}\n\n`;
  return `What is bundled into the pages, and under which licences.\n${line}${[...new Set(sections)].sort().join(line)}`;
}

const CODINGS = [
  {
    end: '.br',
    encode: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
    decode: brotliDecompressSync,
  },
  { end: '.gz', encode: (bytes) => gzipSync(bytes, { level: 9 }), decode: gunzipSync },
];

export function decoded(name, bytes) {
  const coding = CODINGS.find(({ end }) => name.endsWith(end));
  return coding ? coding.decode(bytes) : bytes;
}

function coded(into, { name, bytes }) {
  if (extname(name) === '.woff2') return [];
  return CODINGS.map(({ end, encode, decode }) => {
    const there = join(into, name + end);
    const old = existsSync(there) ? readFileSync(there) : null;
    try {
      if (old && decode(old).equals(bytes)) return { name: name + end, bytes: old };
    } catch {
      // Not what it says: made anew.
    }
    return { name: name + end, bytes: encode(bytes) };
  });
}

/** Everything that belongs into the folder of assets, by its path there. `old`: a folder whose coded files are used where they fit. */
export async function make(old) {
  const { files, inputs } = await bundle(old);
  const names = files.map(({ name }) => name).sort();
  const manifest = names.map((name) => {
    const type = MEDIA_TYPES[extname(name)];
    if (!type) throw new Error(`${name}: which media type is that?`);
    return `${name} ${type}\n`;
  });
  const all = [...files, ...files.flatMap((file) => coded(join(old, 'files'), file))];
  return new Map([
    ...all.map(({ name, bytes }) => [`files/${name}`, bytes]),
    ['manifest.txt', Buffer.from(manifest.join(''))],
    ['storefront.html', Buffer.from(page('src/storefront/page.html', names))],
    ['graphiql.html', Buffer.from(page('src/graphiql/page.html', names))],
    ['LICENSES.txt', Buffer.from(licences(inputs))],
  ]);
}

/** Paths of all files in a folder. */
export function list(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const types = schemaTypes();
  if (!existsSync(types.path) || readFileSync(types.path, 'utf8') !== types.text) writeFileSync(types.path, types.text);
  const made = await make(assets);
  for (const path of list(assets)) {
    if (!made.has(path)) rmSync(join(assets, path));
  }
  for (const [path, bytes] of made) {
    const file = join(assets, path);
    mkdirSync(dirname(file), { recursive: true });
    if (!existsSync(file) || !readFileSync(file).equals(bytes)) writeFileSync(file, bytes);
    if (/\.(js|css)$/.test(path)) {
      const gzip = made.get(`${path}.gz`)?.length;
      console.log(`${path}  ${bytes.length} bytes, ${gzip} in gzip, ${made.get(`${path}.br`)?.length} in br`);
    }
  }
}
