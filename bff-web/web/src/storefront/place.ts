// Where the food goes, and when. Addresses have no coordinates here, so people say which part of town they are in.

import { stored } from './store';

export interface Area {
  id: string;
  name: string;
  lat: number;
  lng: number;
  street1: string;
  street2: string;
  city: string;
  zip: string;
}

// Parts of the demonstration's city, each with an address to start from.
export const AREAS: readonly Area[] = [
  { id: 'lake-merritt', name: 'Lake Merritt', lat: 37.8085, lng: -122.2527, street1: '415 Lakeshore Avenue', street2: 'Apt 12', city: 'Oakland', zip: '94610' },
  { id: 'downtown', name: 'Downtown', lat: 37.8054, lng: -122.2702, street1: '1810 Broadway', street2: 'Floor 6', city: 'Oakland', zip: '94612' },
  { id: 'old-oakland', name: 'Old Oakland', lat: 37.7993, lng: -122.2751, street1: '604 8th Street', street2: 'Unit 401', city: 'Oakland', zip: '94607' },
  { id: 'piedmont-avenue', name: 'Piedmont Avenue', lat: 37.8275, lng: -122.2507, street1: '4021 Piedmont Avenue', street2: '', city: 'Oakland', zip: '94611' },
  { id: 'san-antonio', name: 'San Antonio', lat: 37.7889, lng: -122.2488, street1: '1502 International Boulevard', street2: '', city: 'Oakland', zip: '94606' },
  { id: 'sacramento', name: 'Sacramento (far away)', lat: 38.5816, lng: -121.4944, street1: '1017 11th Street', street2: '', city: 'Sacramento', zip: '95814' },
];

export interface Place {
  area: string;
  street1: string;
  street2: string;
  city: string;
  state: string;
  zip: string;
  /** Local time as an input has it; empty = as soon as possible. */
  at: string;
}

export function placeIn(area: Area): Place {
  const { id, street1, street2, city, zip } = area;
  return { area: id, street1, street2, city, state: 'CA', zip, at: '' };
}

const FIRST = AREAS[0] as Area;

export function readPlace(found: unknown): Place {
  const usual = placeIn(FIRST);
  if (!found || typeof found !== 'object') return usual;
  const entries = Object.entries(usual).map(([name, value]) => {
    const saved = (found as Record<string, unknown>)[name];
    return [name, typeof saved === 'string' ? saved : value];
  });
  return Object.fromEntries(entries) as Place;
}

export const place = stored<Place>('ftgo.place', readPlace);

export function areaOf({ area }: Place): Area {
  return AREAS.find(({ id }) => id === area) ?? FIRST;
}

/** As the schema writes it; `null` = as soon as possible, also when the time has passed. */
export function wanted({ at }: Place, now = Date.now()): string | null {
  const time = at ? Date.parse(at) : Number.NaN;
  return time > now ? new Date(time).toISOString() : null;
}
