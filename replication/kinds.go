package replication

// Kinds of calls and messages between nodes. The numbers are for ever; who has which range answers it.
const (
	// 1-15, the controller's (control.go, propose.go, snapshot.go)
	kindRaft      uint8 = 1 // message: raft's
	kindPropose   uint8 = 2 // call: a command for the controller
	kindHeartbeat uint8 = 3 // call: control.Heartbeat
	kindSnapshot  uint8 = 4 // call: a part of a raft message with a snapshot
	kindMembers   uint8 = 5 // call: AddObserver, Promote, Remove, and what DescribeQuorum answers

	lastControlKind uint8 = 15

	// 16-31, the replicas' (fetcher.go, replicafetch.go)
	kindReplicaFetch uint8 = 16 // call: Kafka's Fetch with replica state
	kindEpochEnd     uint8 = 17 // call: Kafka's OffsetForLeaderEpoch
	kindReplicaWake  uint8 = 18 // call: answer my fetch that waits, I have more to ask for

	lastReplicaKind uint8 = 31

	// 32 and up: requests that were forwarded (backend.go, forward.go)
	kindProduce   uint8 = 32 // call: Kafka's Produce
	kindFetch     uint8 = 33 // call: Kafka's Fetch, of a client
	kindOperation uint8 = 34 // call: an operation by name, JSON
)
