package replica

import "time"

// FetchRequest is a node's request for records of the partitions that it follows (Fetch 18 with a ReplicaState).
type FetchRequest struct {
	Node         NodeID
	BrokerEpoch  int64
	SessionID    int32
	SessionEpoch int32 // FirstEpoch, FinalEpoch, or the number of the request in its session
	MaxWait      time.Duration
	MinBytes     int32
	MaxBytes     int32
	Partitions   []FetchPartition
	Forgotten    []TopicPartition
}

// FetchPartition is a partition of a FetchRequest.
type FetchPartition struct {
	TopicPartition
	Position
}

// FetchResponse answers a FetchRequest.
type FetchResponse struct {
	Code       Code // of the session; then there are no partitions
	SessionID  int32
	Partitions []FetchAnswer
}

// FetchAnswer is a partition of a FetchResponse.
type FetchAnswer struct {
	TopicPartition
	Answer
}

const (
	// FirstEpoch is the session epoch of a full request that wants a new session.
	FirstEpoch int32 = 0
	// FinalEpoch is the session epoch of a full request that wants none.
	FinalEpoch int32 = -1
)

// nextSessionEpoch counts 0, 1, 2, ... 2147483647, 1, 2.
func nextSessionEpoch(e int32) int32 {
	switch {
	case e < 0:
		return FinalEpoch
	case e == 1<<31-1:
		return 1
	}
	return e + 1
}
