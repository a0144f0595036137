package quorum

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("quorum: closed")

	// ErrFailed is what every error Is after which this Raft takes no part any more: a write or sync failed
	// (*StorageError), raft found itself in a state that cannot be (*PanicError), or the leader knows of entries that this
	// node acknowledged and no longer has (ErrLogLost). It sends nothing from then on, and is not retried: close it, and
	// Open goes through recovery before anything is believed again.
	ErrFailed = errors.New("quorum: failed")

	// ErrMustRejoin is what Open's error Is when something that had been durable is missing or damaged: a vote or an
	// acknowledged entry may be among it, so this member must not take part again. Rejoin makes another member of the node.
	ErrMustRejoin = errors.New("quorum: raft log is damaged, the node must rejoin with a new directory")

	// ErrLogLost is reported when the leader says that entries are committed here which are not here: the log was lost
	// behind the back of recovery (a directory put back from a copy, for example). It Is ErrMustRejoin, too.
	ErrLogLost = fmt.Errorf("%w: the leader has acknowledgements of entries that are not here", ErrMustRejoin)

	// ErrNotFormatted is returned by Open where neither Bootstrap nor Join has been.
	ErrNotFormatted = errors.New("quorum: directory holds no raft log; Bootstrap makes one of a new cluster, Join that of a new member")

	// ErrFormatted is returned by Bootstrap and Join where there is a raft log already.
	ErrFormatted = errors.New("quorum: directory holds a raft log already")

	// ErrNotLeader is returned for what only the leader can do; Status().Leader says who that is, if it is known.
	ErrNotLeader = errors.New("quorum: not the leader")

	// ErrBusy is returned by Propose when as much is waiting to be committed as Config.MaxUncommittedBytes allows, or while
	// leadership is being transferred. Nothing has been proposed.
	ErrBusy = errors.New("quorum: too much is waiting to be committed")

	// ErrTooLarge is returned for an entry above Config.MaxEntryBytes, and for a snapshot above MaxSnapshotBytes.
	ErrTooLarge = errors.New("quorum: too large")

	// ErrChangePending is returned by ProposeChange while an earlier change is not applied: they go one at a time.
	ErrChangePending = errors.New("quorum: a change of members is under way")

	// ErrNotCaughtUp is returned for the promotion of an observer that is behind.
	ErrNotCaughtUp = errors.New("quorum: the observer has not caught up")

	// ErrMembership is returned for a change that makes no sense for the members there are.
	ErrMembership = errors.New("quorum: impossible change of members")

	// ErrMalformed is returned for a message that no node of this cluster would send. It had no effect.
	ErrMalformed = errors.New("quorum: malformed message")

	// ErrOtherQuorum is returned for a message of another quorum, or of this one before Recover. It had no effect.
	ErrOtherQuorum = errors.New("quorum: message of another quorum")

	// ErrNewerVersion is returned for a message or a log that a newer program wrote. It had no effect.
	ErrNewerVersion = errors.New("quorum: written by a newer version")

	// ErrConfirmation is returned by Recover for any confirmation but the one it asks for.
	ErrConfirmation = errors.New("quorum: not confirmed")
)

// StorageError says that the journal could not be written or synced. It Is ErrFailed.
type StorageError struct {
	Op  string
	Err error
}

// Error says what failed.
func (e *StorageError) Error() string { return fmt.Sprintf("quorum: failed: %s: %v", e.Op, e.Err) }

// Unwrap returns ErrFailed and the cause.
func (e *StorageError) Unwrap() []error { return []error{ErrFailed, e.Err} }

// Full reports whether the disk was full.
func (e *StorageError) Full() bool {
	return errors.Is(e.Err, syscall.ENOSPC) || errors.Is(e.Err, syscall.EDQUOT)
}

// PanicError carries a panic of the raft library, which shall not reach the application that embeds it. It Is ErrFailed.
type PanicError struct {
	Value string
	Stack string
}

// Error returns what the library said.
func (e *PanicError) Error() string { return "quorum: failed: raft panicked: " + e.Value }

// Unwrap returns ErrFailed.
func (e *PanicError) Unwrap() error { return ErrFailed }

// DamageError is returned by Open for a log of which something durable is missing. It Is ErrMustRejoin.
type DamageError struct {
	Dir string
	Err error
}

// Error says what is damaged and what to do.
func (e *DamageError) Error() string {
	return fmt.Sprintf("quorum: %s: %v: this member must not vote again; it comes back by Rejoin, as a new one", e.Dir, e.Err)
}

// Unwrap returns ErrMustRejoin and the cause.
func (e *DamageError) Unwrap() []error { return []error{ErrMustRejoin, e.Err} }
