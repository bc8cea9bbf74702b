/** A node with calico-p4 among Linux nodes, until it is replaced by a Linux one. */
import { startP4Node } from '../../support/testbed/mixed/p4-node';
import { describeCluster } from './mixed-cluster';

describeCluster('a cluster of a calico-p4 node and Linux nodes', startP4Node);
