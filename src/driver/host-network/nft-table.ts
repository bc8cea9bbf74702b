/** A table of nftables that is ours: written as a whole, in one transaction, and left alone while it is as written. */
import { createHash } from 'node:crypto';
import type { Commands } from './commands';

export interface NftTable {
  /**
   * Has the kernel's table be `rules`. Writes nothing when it is already, also when an earlier process wrote it.
   * @returns whether anything was written. @throws CalicoP4Error HOST_NETWORK_FAILED: the table may be as before, or not there
   */
  ensure(rules: string): Promise<boolean>;
  remove(): Promise<void>;
}

/** A chain without rules, whose comment says what the table was written from, and what the kernel made of that. */
const MARK = /\n\tchain written \{\n\t\tcomment "([0-9a-f]+) ([0-9a-f]+)"\n\t\}\n/;

/** @param family and name as in `table inet calico-p4` */
export function createNftTable(commands: Commands, family: string, name: string): NftTable {
  const whole = [family, name];
  const listing = async (): Promise<string | undefined> => {
    try {
      // Stateless: without counters and the like.
      return await commands.run('nft', ['-s', 'list', 'table', ...whole]);
    } catch {
      return undefined;
    }
  };
  return {
    async ensure(rules) {
      const wanted = digest(rules);
      const found = await listing();
      const mark = found === undefined ? null : MARK.exec(found);
      if (found !== undefined && mark?.[1] === wanted && mark[2] === digest(found.replace(MARK, '')))
        return false;
      // The first line makes sure that there is one to delete.
      const text = `table ${family} ${name} {}\ndelete table ${family} ${name}\n${rules}`;
      await commands.run('nft', ['-f', '-'], text);
      const made = await commands.run('nft', ['-s', 'list', 'table', ...whole]);
      const comment = `${wanted} ${digest(made)}`;
      await commands.run(
        'nft',
        ['-f', '-'],
        `table ${family} ${name} {\n chain written {\n comment "${comment}"\n }\n}\n`,
      );
      return true;
    },
    async remove() {
      if ((await listing()) !== undefined) await commands.run('nft', ['delete', 'table', ...whole]);
    },
  };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
