package group

import (
	"context"
	"io"

	"github.com/partlog/partlog/partition"
)

// Backend is what a group needs below itself; met by *partition.Store. Its methods are the store's, with the store's
// contracts.
type Backend interface {
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)
	Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error)
	Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error)
	ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error)
	EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error)
	Service(name string, start func() (io.Closer, error)) (io.Closer, error)
}

// Coordinators is the service "group" of a Backend. A store's lives in this process and coordinates every group; a
// backend whose groups are elsewhere finds the remote coordinator.
type Coordinators interface {
	io.Closer
	// Find returns the coordinator of a group. It may wait for the network, never for a group. The one of the empty
	// id lists the groups of all coordinators.
	Find(ctx context.Context, group string) (Coordinator, error)
	// Configure changes the settings of one consumer group, also while it runs (a GROUP resource's configuration), from
	// each member's next heartbeat on. The zero value takes away what the group had of its own. It is not kept over a
	// restart. Errors: *partition.ConfigError, partition.ErrClosed.
	Configure(group string, o ConsumerGroupOverrides) error
	// Stats returns a snapshot of the counters of what coordinates here, for all groups together.
	Stats() Stats
}

// Coordinator has one method per group API of Kafka. All are safe for concurrent use. Errors are this package's
// sentinels; partition.ErrClosed after Close. Cancelling ctx ends the waiting, not the request: what was asked may
// still happen, except where a method says otherwise.
type Coordinator interface {
	// Join enters a group, or enters its next generation, and waits until the rebalance that it causes or takes
	// part in has every member (JoinGroup). A cancelled Join of a Local member is withdrawn: the member is gone.
	// With ErrMemberIDRequired the result's MemberID is to be used in the next attempt.
	Join(ctx context.Context, r JoinRequest) (JoinResult, error)
	// Sync hands in the leader's assignment, and waits for this member's part of it (SyncGroup).
	Sync(ctx context.Context, r SyncRequest) (SyncResult, error)
	// Heartbeat says that the member lives, and asks whether its generation does (Heartbeat):
	// ErrRebalanceInProgress, ErrIllegalGeneration and ErrUnknownMemberID mean: join again, the last with an
	// empty member id. Local members need it only to learn why JoinResult.Rebalance was closed.
	Heartbeat(ctx context.Context, m Membership) error
	// Leave removes members at once and lets the others rebalance once (LeaveGroup). The generation is not checked.
	// *LeaveError if any of them was not there (ErrUnknownMemberID) or had lost its instance id to another
	// (ErrFencedInstanceID); the others have left all the same.
	Leave(ctx context.Context, group string, members ...LeavingMember) error
	// Commit stores offsets, all in one batch: acknowledged, they survive a restart (OffsetCommit). A commit of an
	// old generation is ErrIllegalGeneration. A *CommitError names partitions that were refused; the others of the
	// same request have been committed. ErrInvalidCommitOffsetSize if that is more than a batch of the offsets topic may
	// be: then nothing is.
	Commit(ctx context.Context, r CommitRequest) error
	// Offsets returns committed offsets (OffsetFetch). Partitions without one are not in the map. With
	// RequireStable, an *OffsetsError names those that wait for a transaction, and the map has the others.
	Offsets(ctx context.Context, r OffsetsRequest) (map[partition.TopicPartition]CommittedOffset, error)
	// DeleteOffsets removes committed offsets, also those in open transactions (OffsetDelete); partitions without
	// one are passed over. *OffsetsError names those whose topic the group's members are subscribed to
	// (ErrGroupSubscribedToTopic), the others are removed. ErrGroupIDNotFound, ErrGroupNotEmpty for members that are
	// no consumers.
	DeleteOffsets(ctx context.Context, group string, tps ...partition.TopicPartition) error
	// ConsumerGroupHeartbeat is all that a member of the new protocol says, and all that it is told (KIP-848): it joins,
	// lives, gives up partitions and leaves by it (ConsumerGroupHeartbeat). It does not wait for other members. Errors:
	// ErrFencedMemberEpoch and ErrUnknownMemberID mean: give up all partitions and join again with JoinGroupEpoch;
	// ErrUnreleasedInstanceID, ErrFencedInstanceID, ErrGroupMaxSizeReached, ErrGroupIDNotFound,
	// ErrUnsupportedAssignor, ErrInvalidRegularExpression and ErrInvalidRequest. Any other: the log could not be
	// written, nothing has changed, and the heartbeat may be repeated.
	ConsumerGroupHeartbeat(ctx context.Context, r ConsumerHeartbeatRequest) (ConsumerHeartbeatResult, error)
	// ConsumerGroupDescribe returns a snapshot of a group of the new protocol (ConsumerGroupDescribe);
	// ErrGroupIDNotFound if it is not one.
	ConsumerGroupDescribe(ctx context.Context, group string) (ConsumerGroupDescription, error)
	// Describe returns a snapshot of a group (DescribeGroups): state Dead and nothing else if there is none.
	Describe(ctx context.Context, group string) (Description, error)
	// ListGroups returns the groups that are coordinated here, by name (ListGroups). It loads what is not loaded.
	ListGroups(ctx context.Context, r ListGroupsRequest) ([]Listing, error)
	// DeleteGroups removes groups with all their offsets (DeleteGroups), also those in open transactions.
	// *DeleteGroupsError names those that were not there (ErrGroupIDNotFound) or have members (ErrGroupNotEmpty).
	DeleteGroups(ctx context.Context, groups ...string) error
}
