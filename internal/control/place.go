package control

// Place chooses the replicas of count partitions, factor each, under Kafka's rule (StripedReplicaPlacer): as evenly over racks as it can be, each partition
// beginning at the next rack and node, nodes that are not active only where there are too few others, and never first. The seed makes the draw;
// the same arguments give the same answer. The answer is InvalidReplicationFactor if there are not that many nodes or none is active.
func Place(nodes []Node, count, factor int32, seed uint64) ([][]NodeID, Code) {
	return nil, InvalidReplicationFactor
}
