// Documents with the types of their answers, and how they are asked: one POST to this site's own `/graphql`. What is followed
// live is `live.ts`'s. The schema's types come from `../generated/schema.d.ts`; nothing of it is left at run time.

import type { initGraphQLTada, ResultOf, TadaDocumentNode, VariablesOf } from 'gql.tada';
import type { introspection } from '../generated/schema';

interface Setup {
  introspection: introspection;
  scalars: { DateTime: string };
  disableMasking: true;
}

type Graphql = ReturnType<typeof initGraphQLTada<Setup>>;

/** A document is its text: types are all that gql.tada is used for. */
export const graphql = ((text: string, fragments: readonly string[] = []) => text + fragments.join('')) as unknown as Graphql;

// What gql.tada calls a document, whatever its variables are.
export type Document<Data, Variables> = TadaDocumentNode<Data, Variables>;
export type { ResultOf, VariablesOf };

export function textOf<Data, Variables>(document: Document<Data, Variables>): string {
  return document as unknown as string;
}

/** What went wrong, for people (`message`) and for programs (`code`). */
export interface Failure {
  code: string;
  message: string;
  /** The field that has no value, as in "order.ticket"; empty when all of it failed. */
  path: string;
  reason?: string;
  /** What is wrong with the input. */
  faults: { pointer: string; detail: string }[];
}

export interface Answer<Data> {
  data: Data | null;
  failures: Failure[];
}

/** As GraphQL says it. */
interface RawError {
  message?: unknown;
  path?: unknown;
  extensions?: { code?: unknown; reason?: unknown; errors?: unknown };
}

export function failureOf(error: RawError): Failure {
  const { code, reason, errors } = error.extensions ?? {};
  const path = Array.isArray(error.path) ? error.path.join('.') : '';
  return {
    code: typeof code === 'string' ? code : 'UNKNOWN',
    message: typeof error.message === 'string' ? error.message : 'Something went wrong.',
    path,
    faults: Array.isArray(errors) ? errors : [],
    ...(typeof reason === 'string' ? { reason } : {}),
  };
}

const unreachable = (message: string): Failure => ({ code: 'UNREACHABLE', message, path: '', faults: [] });

/** A problem document (RFC 9457) in the same words: "…/rate-limited" is RATE_LIMITED. */
function failureOfProblem(status: number, problem: { type?: unknown; title?: unknown; detail?: unknown }): Failure {
  const slug = typeof problem.type === 'string' ? (problem.type.split('/').pop() ?? '') : '';
  const code = slug && slug !== 'about:blank' ? slug.replaceAll('-', '_').toUpperCase() : `HTTP_${status}`;
  const said = problem.detail ?? problem.title;
  return { ...unreachable(typeof said === 'string' ? said : `The answer was ${status}.`), code };
}

/** Told of every failure, wherever it was met. */
export const onFailure: { told: (failure: Failure) => void } = { told: () => {} };

/** Answers always: what goes wrong is in `failures`. */
export async function ask<Data, Variables>(
  document: Document<Data, Variables>,
  variables: Variables,
  signal?: AbortSignal,
): Promise<Answer<Data>> {
  const answer = await post<Data>(textOf(document), variables, signal);
  for (const failure of answer.failures) onFailure.told(failure);
  return answer;
}

async function post<Data>(query: string, variables: unknown, signal?: AbortSignal): Promise<Answer<Data>> {
  try {
    const response = await fetch('/graphql', {
      method: 'POST',
      credentials: 'same-origin',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/graphql-response+json, application/json;q=0.5',
        'X-CSRF': '1',
      },
      body: JSON.stringify({ query, variables }),
      ...(signal ? { signal } : {}),
    });
    const kind = response.headers.get('Content-Type') ?? '';
    if (kind.includes('problem+json')) {
      return { data: null, failures: [failureOfProblem(response.status, await response.json())] };
    }
    if (!kind.includes('json')) {
      return { data: null, failures: [failureOfProblem(response.status, {})] };
    }
    const { data = null, errors = [] } = await response.json();
    return { data, failures: errors.map(failureOf) };
  } catch (error) {
    if (signal?.aborted) throw error;
    return { data: null, failures: [unreachable('FTGO cannot be reached. Are you online?')] };
  }
}

/** The failure of a field, or of what it is in. */
export function failureAt(failures: readonly Failure[], path: string): Failure | undefined {
  return failures.find((failure) => failure.path === '' || path === failure.path || path.startsWith(`${failure.path}.`));
}
