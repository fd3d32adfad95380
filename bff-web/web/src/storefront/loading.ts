// A query's answer for a view: asked when the view comes or its variables change, and asked anew on demand.

import { useCallback, useEffect, useState } from 'preact/hooks';
import { type Answer, ask, type Document } from './graphql';

export interface Loaded<Data> {
  /** `null`: on its way. */
  answer: Answer<Data> | null;
  again: () => void;
}

export function useAnswer<Data, Variables>(document: Document<Data, Variables>, variables: Variables | null): Loaded<Data> {
  const key = variables === null ? null : JSON.stringify(variables);
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState<{ key: string | null; answer: Answer<Data> | null }>({ key, answer: null });
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    setState((before) => (before.key === key ? before : { key, answer: null }));
    ask(document, JSON.parse(key) as Variables, abort.signal).then(
      (answer) => setState({ key, answer }),
      () => {}, // Nobody wants it any more.
    );
    return () => abort.abort();
  }, [document, key, turn]);
  const again = useCallback(() => setTurn((turn) => turn + 1), []);
  return { answer: state.key === key ? state.answer : null, again };
}

/** A list that is shown page by page. */
export interface Pages<Node> {
  nodes: Node[];
  more: boolean;
  loading: boolean;
  failure: Answer<unknown>['failures'][number] | null;
  next: () => void;
  again: () => void;
}

interface PageOf<Node> {
  nodes: Node[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

export function usePages<Data, Variables extends { after?: string | null }, Node>(
  document: Document<Data, Variables>,
  variables: Omit<Variables, 'after'>,
  pageOf: (data: Data) => PageOf<Node> | null,
): Pages<Node> {
  const key = JSON.stringify(variables);
  const [turn, setTurn] = useState(0);
  const [wish, setWish] = useState<{ key: string; after: string | null }>({ key, after: null });
  const [state, setState] = useState<{ key: string; nodes: Node[]; cursor: string | null; loading: boolean; failure: Pages<Node>['failure'] }>({
    key,
    nodes: [],
    cursor: null,
    loading: true,
    failure: null,
  });
  // What was wished for another list is no wish for this one.
  const after = wish.key === key ? wish.after : null;
  useEffect(() => {
    const abort = new AbortController();
    setState((before) => (before.key === key && after ? { ...before, loading: true, failure: null } : { key, nodes: [], cursor: null, loading: true, failure: null }));
    ask(document, { ...JSON.parse(key), after } as Variables, abort.signal).then(
      ({ data, failures }) => {
        const page = data && pageOf(data);
        setState((before) => {
          const kept = after ? before.nodes : [];
          if (!page) return { ...before, nodes: kept, loading: false, failure: failures[0] ?? null };
          return {
            key,
            nodes: [...kept, ...page.nodes],
            cursor: page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null,
            loading: false,
            failure: null,
          };
        });
      },
      () => {},
    );
    return () => abort.abort();
  }, [document, key, after, turn]);
  const current = state.key === key ? state : { ...state, nodes: [], cursor: null, loading: true, failure: null };
  return {
    nodes: current.nodes,
    more: current.cursor !== null,
    loading: current.loading,
    failure: current.failure,
    next: () => setWish({ key, after: current.cursor }),
    again: () => setTurn((turn) => turn + 1),
  };
}
