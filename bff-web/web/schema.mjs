// The schema as the BFF's test has written it down, and the types that TypeScript reads from it.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { minifyIntrospection, outputIntrospectionFile } from '@gql.tada/internal';
import { buildSchema, introspectionFromSchema } from 'graphql';

const here = dirname(fileURLToPath(import.meta.url));
const SNAPSHOT = join(here, '..', 'src', 'snapshots', 'bff_web__tests__schema.snap');

export function schema() {
  const text = readFileSync(SNAPSHOT, 'utf8');
  // What is above the second line of dashes is insta's.
  return buildSchema(text.slice(text.indexOf('---', 3) + 3));
}

/** `src/generated/schema.d.ts`: where it is, and what has to be in it. */
export function schemaTypes() {
  const introspection = minifyIntrospection(introspectionFromSchema(schema(), { descriptions: false }));
  const text = outputIntrospectionFile(introspection, { fileType: '.d.ts', shouldPreprocess: true });
  return { path: join(here, 'src', 'generated', 'schema.d.ts'), text: text.replace(/\nimport \* as gqlTada[\s\S]*$/, '\n') };
}

if (!existsSync(SNAPSHOT)) throw new Error(`${SNAPSHOT} is missing`);
