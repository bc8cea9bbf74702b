/** Keys and values of an etcd over its JSON gateway. */

export interface StoredValue {
  readonly value: unknown;
  /** Of a time to live; `0` for none. */
  readonly lease: string;
}

export interface EtcdClient {
  put(key: string, value: object): Promise<void>;
  get(key: string): Promise<StoredValue | undefined>;
  delete(key: string): Promise<void>;
  /** All keys below. */
  keys(prefix: string): Promise<readonly string[]>;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const plain = (text: string): string => Buffer.from(text, 'base64').toString();

interface RangeAnswer {
  readonly kvs?: readonly { readonly key: string; readonly value?: string; readonly lease?: string }[];
}

export function etcdClient(endpoint: string): EtcdClient {
  const ask = async (what: string, body: object): Promise<unknown> => {
    const response = await fetch(`${endpoint}/v3/kv/${what}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd ${what}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  return {
    async put(key, value) {
      await ask('put', { key: base64(key), value: base64(JSON.stringify(value)) });
    },
    async get(key) {
      const { kvs = [] } = (await ask('range', { key: base64(key) })) as RangeAnswer;
      const [found] = kvs;
      return found === undefined
        ? undefined
        : { value: JSON.parse(plain(found.value ?? '')), lease: found.lease ?? '0' };
    },
    async delete(key) {
      await ask('deleterange', { key: base64(key) });
    },
    async keys(prefix) {
      const answer = await ask('range', {
        key: base64(prefix),
        range_end: base64(`${prefix}\xff`),
        keys_only: true,
      });
      return ((answer as RangeAnswer).kvs ?? []).map(({ key }) => plain(key));
    },
  };
}
