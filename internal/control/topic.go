package control

import "slices"

// Topic is what the controller knows of a topic; everything else is the catalogue's.
type Topic struct {
	ID     TopicID
	Name   string
	Config TopicConfig

	partitions []PartitionState
}

func (t *Topic) copy() Topic {
	c := *t
	c.partitions = slices.Clone(t.partitions)
	return c
}

// Partitions returns the states of all partitions, by number, as they were when the topic was asked for.
func (t Topic) Partitions() []PartitionState { return t.partitions }

// TopicConfig is the part of a topic's configuration that the controller decides by.
type TopicConfig struct {
	MinISR  int32  // min.insync.replicas; 0: the cluster's
	Unclean Choice // unclean.leader.election.enable
}

// ClusterConfig is what topics have that do not say otherwise.
type ClusterConfig struct {
	MinISR  int32 // min.insync.replicas; at least 1
	Unclean bool  // unclean.leader.election.enable
}

// Choice is a yes, a no, or what the cluster says.
type Choice int8

// The values of a Choice.
const (
	ClusterDefault Choice = iota
	Yes
	No
)
