import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 collect garbage when the heap is a quarter larger than what was in use, where it lets it double. A driver that follows policy
 * churn makes much garbage and keeps little: on recording 08-scale this takes half the memory for a few per cent of CPU
 * (docs/performance.md). To be called before the heap grows.
 */
export function growHeapSlowly(): void {
  setFlagsFromString('--heap-growing-percent=25');
}
