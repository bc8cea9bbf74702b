import type { Form } from './form';
import { v326 } from './v3-26';
import { v329 } from './v3-29';
import { v330 } from './v3-30';
import { v332 } from './v3-32';
import { v333 } from './v3-33';

export type { Form } from './form';

/** Every form that is understood, oldest first. */
export const FORMS: readonly Form[] = [v326, v329, v330, v332, v333];
