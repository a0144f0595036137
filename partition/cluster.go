package partition

import "context"

// Cluster is what a store needs of the other nodes when it is one of several (Config.Cluster): replication.Node has it. The store calls its
// methods with no lock held, and Propose, LowWatermark, TxnAdd and WriteTxnMarker may take as long as ctx allows.
//
// What the nodes share is the catalogue: topics, their settings, the settings of front ends, blocks of producer ids. Its changes are agreed on
// elsewhere, in one order for all: a store proposes one, and makes it when the agreement comes back through Store.ApplyShared. Records are
// each partition's own matter: Store.SetReplica says which partitions are here, led or followed, and Store.Replica moves their records.
type Cluster interface {
	// NodeID is this node's id (node.id).
	NodeID() int32
	// Propose proposes a change of the shared catalogue and returns when this store has applied it. ErrSharedConflict says that another came
	// first: then nothing has happened. After other errors it may happen still, but for those that the cluster refuses it with.
	Propose(ctx context.Context, c SharedChange) error
	// Appended says that the log of a partition that this node leads has grown to end, or that more of it is durable. It must be quick, must
	// not call Append, and must not wait for a lock that is held while SetReplica is called: that waits for appends.
	Appended(tp TopicPartition, end Offset)
	// LowWatermark returns when every live replica of a partition that this node leads has its log start at least at.
	LowWatermark(ctx context.Context, tp TopicPartition, at Offset) error
	// TxnAdd adds partitions to the transaction of a transactional id, or with verifyOnly asks whether they are part of it, at its coordinator, wherever
	// that is. version is the transaction.version of the client.
	TxnAdd(ctx context.Context, txnID string, p ProducerID, tps []TopicPartition, version int16, verifyOnly bool) error
	// WriteTxnMarker writes a marker at the leader of its partition (see Store.AppendTxnMarker), and returns when it is replicated.
	WriteTxnMarker(ctx context.Context, m TxnMarker) error
}

// TxnMarker is the end of a transaction in one partition.
type TxnMarker struct {
	TopicPartition
	Producer         ProducerID
	Commit           bool
	CoordinatorEpoch int32
	Version          int16 // transaction.version: with 2 the epoch is above the transaction's
}

// The kinds of changes of the shared catalogue. The numbers are on disks and in the cluster's log: never change one, only add.
const (
	SharedTopicCreated    = eventTopicCreated    // Topic, Name, Partitions, Overrides, ReplicationFactor or Assignment
	SharedTopicDeleted    = eventTopicDeleted    // Topic, Name
	SharedTopicConfigured = eventTopicConfigured // Topic, Name, Overrides: all that the topic sets itself
	SharedTopicGrown      = eventTopicGrown      // Topic, Name, Partitions: as many as there are to be; Assignment, of the new ones
	SharedProducerIDs     = eventProducerIDs     // none
	SharedSettings        = eventSettings        // none
)

// SharedChange is a proposed change of the shared catalogue. Kind, Payload and Expect are the store's own; the fields below, as Kind says, are
// for whoever decides about leaders and replicas.
type SharedChange struct {
	Kind    uint8
	Payload []byte // for ApplyShared
	Expect  uint64 // the index of the last change that the proposer had applied: ErrSharedConflict if another has come since

	Topic             TopicID
	Name              string
	Partitions        int32
	Overrides         map[string]string // by Kafka's key
	ReplicationFactor int16             // 0 or -1: default.replication.factor
	Assignment        [][]int32         // replicas of each partition, the preferred leader first; nil: the cluster chooses
}

// Role is what this node is to a partition.
type Role uint8

const (
	RoleNone     Role = iota // the partition is elsewhere; what is here of it stays until RemoveReplica
	RoleFollower             // it is copied from its leader
	RoleLeader               // it is appended to here
)

// String returns "none", "follower" or "leader".
func (r Role) String() string {
	switch r {
	case RoleLeader:
		return "leader"
	case RoleFollower:
		return "follower"
	}
	return "none"
}

// ReplicaState is what a node is told about a partition (Store.SetReplica).
type ReplicaState struct {
	Role   Role
	Leader int32 // node id, -1: none
	Epoch  LeaderEpoch
	ISR    int // in-sync replicas, of a leader
	MinISR int // that an append with acks=all needs (min.insync.replicas, at most the number of replicas)
}
