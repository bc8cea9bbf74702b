/**
 * P4Runtime 1.5 for Node. The service, its requests and its entities are exported flat; p4info, whose names overlap
 * with them (Action, for one), and the small ones have namespaces of their own.
 */
export * from './src/p4/v1/p4runtime';
export * as p4data from './src/p4/v1/p4data';
export * as p4info from './src/p4/config/v1/p4info';
export * as p4types from './src/p4/config/v1/p4types';
export { P4Info } from './src/p4/config/v1/p4info';
export { Status } from './src/google/rpc/status';
export { Any } from './src/google/protobuf/any';
