// Package replication makes stores into a cluster: each application runs a Node, and partitions have a leader, followers and in-sync
// replicas.
package replication
