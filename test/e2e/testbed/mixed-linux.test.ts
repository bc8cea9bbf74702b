/** Linux nodes alone: what mixed-cluster.ts asks for is what Calico does. */
import { startLinuxNode } from '../../support/testbed/mixed/linux-node';
import { describeCluster } from './mixed-cluster';

describeCluster('a cluster of Linux nodes', startLinuxNode);
