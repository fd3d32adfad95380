// Whether the pages are in order, without changing anything: types, documents against the schema, the units' tests, and that
// ../assets and the schema's types are what the sources make.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { parse, validate } from 'graphql';
import { assets, decoded, here, list, make } from './build.mjs';
import { schema, schemaTypes } from './schema.mjs';

const faults = [];

function run(what, command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: here, encoding: 'utf8' });
  if (status !== 0) faults.push(`${what}:\n${stdout}${stderr}`);
}

function compare(made) {
  for (const path of list(assets)) {
    if (!made.has(path)) faults.push(`assets/${path} is not made of any source`);
  }
  for (const [path, bytes] of made) {
    const file = join(assets, path);
    if (!existsSync(file)) faults.push(`assets/${path} is missing`);
    else if (!decoded(path, readFileSync(file)).equals(decoded(path, bytes))) faults.push(`assets/${path} is not what its sources make`);
  }
}

async function checkDocuments(folder) {
  await build({ absWorkingDir: here, entryPoints: ['src/storefront/operations.ts', 'src/graphiql/examples.ts'], outdir: folder, bundle: true, format: 'esm', outExtension: { '.js': '.mjs' }, logLevel: 'warning' });
  const load = (path) => import(pathToFileURL(join(folder, path)));
  const { EXAMPLES } = await load('graphiql/examples.mjs');
  const documents = [...Object.entries(await load('storefront/operations.mjs')), ...EXAMPLES.map(({ title, query }) => [title, query])];
  if (documents.length < 20) faults.push(`only ${documents.length} documents were found`);
  for (const [name, text] of documents) {
    for (const error of validate(schema(), parse(text))) faults.push(`${name}: ${error.message}`);
  }
}

async function test(folder) {
  const entries = readdirSync(join(here, 'src'), { recursive: true }).filter((path) => /\.test\.tsx?$/.test(path));
  if (entries.length === 0) faults.push('there are no tests');
  await build({
    absWorkingDir: here,
    entryPoints: entries.map((path) => join('src', path)),
    outdir: folder,
    bundle: true,
    format: 'esm',
    platform: 'node',
    outExtension: { '.js': '.mjs' },
    // What a browser has and Node has not.
    banner: { js: "globalThis.addEventListener ??= () => {}; globalThis.location ??= { pathname: '/', search: '' };" },
    logLevel: 'warning',
  });
  run('tests', process.execPath, ['--test', ...list(folder).filter((path) => path.endsWith('.test.mjs')).map((path) => join(folder, path))]);
}

const folder = mkdtempSync(join(tmpdir(), 'bff-web-pages-'));
try {
  const types = schemaTypes();
  if (!existsSync(types.path) || readFileSync(types.path, 'utf8') !== types.text) faults.push('src/generated/schema.d.ts is not what the schema says');
  run('types', process.execPath, [createRequire(import.meta.url).resolve('typescript/bin/tsc')]);
  await checkDocuments(join(folder, 'documents'));
  await test(join(folder, 'tests'));
  compare(await make(assets));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (faults.length > 0) {
  console.error(`${faults.join('\n')}\n\nIf the sources are right: make assets`);
  process.exit(1);
}
console.log('the pages are what their sources make');
