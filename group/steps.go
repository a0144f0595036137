package group

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// Events.
type (
	event interface{ isEvent() }

	// joinEvent is a JoinGroup; newMemberID is what the member will be called if it is new.
	joinEvent struct {
		call        callID
		newMemberID string
		JoinRequest
	}
	// withdrawEvent: the caller of a parked request has gone away.
	withdrawEvent struct{ call callID }
	syncEvent     struct {
		call callID
		SyncRequest
	}
	heartbeatEvent struct {
		call callID
		Membership
	}
	leaveEvent struct {
		call    callID
		members []LeavingMember
	}
	// commitEvent is an OffsetCommit; refused are partitions that the shell has already refused.
	commitEvent struct {
		call callID
		Membership
		offsets   []offsetRecord
		refused   map[partition.TopicPartition]error
		txn       *TxnCommit
		retention time.Duration
		negative  bool // offsets are taken too
	}
	deleteGroupEvent   struct{ call callID }
	deleteOffsetsEvent struct {
		call       callID
		partitions []partition.TopicPartition
	}
	expireEvent struct{ retention time.Duration }
	// markerEvent is the end of a producer's transaction, read back from this place of the log.
	markerEvent struct {
		producer int64
		at       partition.Offset
		commit   bool
	}
	timerEvent struct{ timerKey }
	// appendedEvent is the log's answer to an appendEffect: where the first of the records is. noSpace tells a full
	// disk, which passes.
	appendedEvent struct {
		id      appendID
		base    partition.Offset
		err     error
		noSpace bool
	}
	// forgetEvent: these partitions' topic is gone, and their offsets with it.
	forgetEvent struct{ partitions []partition.TopicPartition }
	// loadedEvent: the log has been replayed into this machine.
	loadedEvent struct{}
	// stopEvent: the coordinator ends; err is what it answers from now on.
	stopEvent struct{ err error }
)

func (joinEvent) isEvent()          {}
func (withdrawEvent) isEvent()      {}
func (syncEvent) isEvent()          {}
func (heartbeatEvent) isEvent()     {}
func (leaveEvent) isEvent()         {}
func (commitEvent) isEvent()        {}
func (deleteGroupEvent) isEvent()   {}
func (deleteOffsetsEvent) isEvent() {}
func (expireEvent) isEvent()        {}
func (markerEvent) isEvent()        {}
func (timerEvent) isEvent()         {}
func (appendedEvent) isEvent()      {}
func (forgetEvent) isEvent()        {}
func (loadedEvent) isEvent()        {}
func (stopEvent) isEvent()          {}

// Effects, to be carried out in order.
type (
	effect interface{ isEffect() }

	// answerEffect answers a call; at most one of join, sync and consumer is set.
	answerEffect struct {
		call     callID
		err      error
		join     *JoinResult
		sync     *SyncResult
		consumer *ConsumerHeartbeatResult
	}
	// setTimerEffect starts a timer, instead of the one with the same key if there is one.
	setTimerEffect struct {
		timerKey
		after time.Duration
	}
	stopTimerEffect struct{ timerKey }
	// appendEffect writes records in one batch, after all earlier ones of the group, or as part of a transaction in no
	// order with others; an appendedEvent answers it.
	appendEffect struct {
		id      appendID
		records []record
		txn     *TxnCommit
	}
	// watchEffect: the group waits for a marker of the producer, after this place in the log.
	watchEffect struct {
		producer int64
		from     partition.Offset
	}
	// endedEffect: the generation of a member has ended; one of this process is told.
	endedEffect struct{ memberID string }
	// infoEffect is for Events: one of its argument types.
	infoEffect struct{ info any }
)

func (answerEffect) isEffect()    {}
func (setTimerEffect) isEffect()  {}
func (stopTimerEffect) isEffect() {}
func (appendEffect) isEffect()    {}
func (watchEffect) isEffect()     {}
func (endedEffect) isEffect()     {}
func (infoEffect) isEffect()      {}

// timerKey names a timer of a group; memberID belongs to timerSession and timerPending.
type timerKey struct {
	kind     timerKind
	memberID string
}

type timerKind uint8

const (
	timerJoin    timerKind = iota + 1 // members that have not joined the next generation by then are removed
	timerSync                         // members that have not synced by then are removed
	timerSession                      // a member that is silent until then is removed
	timerPending                      // a member id that has not come back by then is forgotten
	timerRetry                        // what there was no space for is written again
)
