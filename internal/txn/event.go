package txn

// Call is a request that waits for its Answer; 0 is nobody.
type Call uint64

// Event is what happens to a Machine.
type Event interface{ isEvent() }

type (
	// Init is InitProducerId of a transactional id. Last and LastEpoch are the producer's own so far (KIP-360), None
	// for a new instance. Fresh is a producer id that nobody has had, or None: if one is needed the only effect is
	// NeedID, and the same event is to come again with it.
	Init struct {
		Call      Call
		ID        string
		Timeout   int32 // milliseconds
		Last      int64
		LastEpoch int16
		Fresh     int64
	}
	// Add is AddPartitionsToTxn of a client with transaction.version Version. With VerifyOnly it only asks whether they
	// are in the transaction (KIP-890).
	Add struct {
		Call       Call
		ID         string
		ProducerID int64
		Epoch      int16
		Partitions []Partition
		Version    int16
		VerifyOnly bool
	}
	// End is EndTxn. Fresh is as for Init.
	End struct {
		Call       Call
		ID         string
		ProducerID int64
		Epoch      int16
		Commit     bool
		Version    int16
		Fresh      int64
	}
	// Abort aborts the open transaction of an id and fences its producer, whoever that is.
	Abort struct {
		Call Call
		ID   string
	}
	// Written answers a Write.
	Written struct {
		ID  string
		Err error
	}
	// Marked answers a Mark: Done have their marker or need none, as those that were deleted; all others are to be tried again.
	Marked struct {
		ProducerID int64
		Epoch      int16
		Orphan     bool
		Done       []Partition
	}
	// Resume answers a Later.
	Resume struct {
		ProducerID int64
		Epoch      int16
		Orphan     bool
	}
	// Tick looks for transactions whose timeout is over.
	Tick struct{}
	// Expire forgets ids that have been idle for longer than Idle milliseconds.
	Expire struct{ Idle int64 }

	// Replay is one record of an id, in the order of the log; a nil Meta is a tombstone.
	Replay struct {
		ID   string
		Meta *Meta
	}
	// Found is a transaction that is open in a partition. It comes after the last Replay and before Start; later it is of a
	// partition that was imported, and only a producer that no id has is believed to be nobody's.
	Found struct {
		ProducerID int64
		Epoch      int16
		Partition  Partition
	}
	// Seen is an epoch of a producer that a partition has seen. It comes before Start.
	Seen struct {
		ProducerID int64
		Epoch      int16
	}
	// Start comes once, after the last Replay: what was prepared is finished, and what was not is aborted.
	Start struct {
		Keep bool // open transactions go on: their producers live, and only the coordinator is another one
	}
)

func (Init) isEvent()    {}
func (Add) isEvent()     {}
func (End) isEvent()     {}
func (Abort) isEvent()   {}
func (Written) isEvent() {}
func (Marked) isEvent()  {}
func (Resume) isEvent()  {}
func (Tick) isEvent()    {}
func (Expire) isEvent()  {}
func (Replay) isEvent()  {}
func (Found) isEvent()   {}
func (Seen) isEvent()    {}
func (Start) isEvent()   {}

// Effect is what the shell is to do.
type Effect interface{ isEffect() }

type (
	// Write appends a record for Meta's id, a tombstone if its state is Dead, and is answered by Written: at once, or
	// with Durable when it has been synced. Records of one id never overtake each other, as there is only one under way.
	Write struct {
		Meta    Meta
		Durable bool
	}
	// Mark appends a marker to each partition, and is answered by Marked when each is as durable as the partition
	// promises. Version 2 says that Epoch is above that of the transaction.
	Mark struct {
		ProducerID int64
		Epoch      int16
		Commit     bool
		Version    int16
		Orphan     bool // of a transaction that no id has
		Partitions []Partition
	}
	// Answer answers a request; ProducerID and Epoch are what the producer uses from now on.
	Answer struct {
		Call       Call
		ProducerID int64
		Epoch      int16
		Err        error
	}
	// NeedID says that the event is to come again with Fresh.
	NeedID struct{}
	// Later asks for Resume after a while: something could not be written.
	Later struct {
		ProducerID int64
		Epoch      int16
		Orphan     bool
	}
	// Free says that requests of the id that were ErrConcurrentTransactions may be tried again; without an id, that a
	// transaction of nobody has ended.
	Free struct{ ID string }
	// Ended tells of a transaction that is complete.
	Ended struct {
		Meta     Meta // of the id, as it is now
		Commit   bool
		Cause    Cause
		Prepared int64 // when the outcome was decided
	}
)

func (Write) isEffect()  {}
func (Mark) isEffect()   {}
func (Answer) isEffect() {}
func (NeedID) isEffect() {}
func (Later) isEffect()  {}
func (Free) isEffect()   {}
func (Ended) isEffect()  {}

// Cause says why a transaction ended.
type Cause uint8

// Who ended a transaction.
const (
	ByProducer Cause = iota // EndTxn
	ByFence                 // a newer instance of its producer
	ByTimeout
	ByAdmin
	ByRestart // it was open when the store was opened
)

// String returns the cause in words.
func (c Cause) String() string {
	return [...]string{"producer", "fence", "timeout", "admin", "restart"}[c]
}
