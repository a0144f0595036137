// Package replication makes stores into a cluster: each application runs a Node, partitions have a leader and followers, and a node may
// die at any moment. What was acknowledged with acks=all by as many replicas as min.insync.replicas says is not lost.
//
//	node, err := replication.Start(replication.Config{
//		Dir: "data", NodeID: 1, Listen: "10.0.0.1:9192", TLS: &tls, Bootstrap: true, // the first node of a new cluster
//	})
//	if err != nil { ... }
//	defer node.Close() // what it leads moves first
//
//	p, err := producer.New(node, producer.Config{})        // as with a store
//	g, err := group.Open(node, "billing", group.Config{})
//
// The next ones join: NodeID 2, Join instead of Bootstrap, ClusterID (node.ClusterID of the first) and in Peers one node that is up. A directory
// remembers what it belongs to: both flags may stay in the configuration. That of an embedded store becomes the first node's as it is, and a store
// may open it again afterwards.
//
// # The nouns
//
// A Node has a store (Store) with replicas of some partitions, and knows where the others are. A partition's leader takes appends; followers fetch from it, and
// those that have everything form the in-sync replicas (ISR). The high watermark is what all of them have; consumers read up to it. A leader epoch counts a
// partition's leaders: followers truncate by it, never by the high watermark (KIP-101, KIP-279, KIP-320). One of the nodes is the active
// controller, elected by the quorum of voters (raft); it registers nodes, fences those that it has not heard for SessionTimeout, elects leaders from the ISR, or
// from the eligible leader replicas (KIP-966), and keeps the catalogue of topics.
//
// Operations go to the right node by themselves: to the leader of a partition, the coordinator of a group or transactional id, the controller. While one
// moves they wait, until their context ends or RequestTimeout has passed, unless that could do something twice.
//
// # What is promised
//
//	acks=all, min.insync.replicas 2 of 3      survives the loss of any one node and its disk, and of all power with SyncAlways
//	acks=all, min.insync.replicas 1           survives as long as one member of the ISR does
//	acks=1                                    is lost with its leader, until followers have it
//
// A topic has min(3, nodes) replicas and, with three, min.insync.replicas 2, unless its TopicConfig says otherwise. Fewer in-sync replicas than that refuse
// acks=all (partition.ErrNotEnoughReplicas); a leader that cannot reach the controller for its session acknowledges nothing under acks=all, because others
// may have been elected. Without a majority of the voters nothing of the metadata changes (ErrNoQuorum), and leaders whose ISR is whole go on until then.
//
// # Safety of peers
//
// Peers know each other by certificates of one authority, with the node's id in them (DevelopmentCA makes some for a start). A node of another cluster, with
// another's certificate, or with the id of a living one is refused, and both sides tell why (Events.Refused). Plaintext is for loopback addresses.
//
// # Limits
//
// Node ids are for ever; a node that lost its disk comes back empty under its old id and is filled by the others. Members of groups have sessions here, also those of the same
// process. A batch without a producer id is not sent twice: its producer gets the error.
package replication
