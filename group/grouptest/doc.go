// Package grouptest has the suite of checks that a store, or a node of a cluster, passes as the ground of consumer groups: what group.Backend promises, seen by
// a group's members. Package partition/partitiontest has the one of partitions.
package grouptest
