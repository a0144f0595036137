package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

const (
	keyAddRaftVoter    int16 = 80
	keyRemoveRaftVoter int16 = 81
)

// ofNodes are the APIs that a node of a cluster serves, and brokers over a store alone do not.
var ofNodes = []int16{keyUnregisterBroker, keyAddRaftVoter, keyRemoveRaftVoter}

func init() {
	apis[keyAddRaftVoter] = &api{name: "AddRaftVoter", Range: Range{0, 0}, handle: handleAddRaftVoter}
	apis[keyRemoveRaftVoter] = &api{name: "RemoveRaftVoter", Range: Range{0, 0}, handle: handleRemoveRaftVoter}
}

// errVoterKey: the directory id that came with a voter's id is not its node's.
var errVoterKey = errors.New("the directory id is not the node's")

// handleAddRaftVoter makes an observer of the quorum a voter (KIP-853). Its listeners are those that it has registered, whatever the request says of them; a
// directory id of zeros is not compared.
func handleAddRaftVoter(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AddRaftVoterRequest)
	resp := req.ResponseKind().(*kmsg.AddRaftVoterResponse)
	err := s.changeVoters(c, req.ClusterID, func(ctx context.Context, node *replication.Node) error {
		if err := s.voterKey(ctx, req.VoterID, req.VoterDirectoryID); err != nil {
			return err
		}
		return node.AddVoter(ctx, req.VoterID)
	})
	resp.ErrorCode, resp.ErrorMessage = voterAnswer(c, err)
	return resp, nil
}

// handleRemoveRaftVoter makes a voter of the quorum an observer (KIP-853).
func handleRemoveRaftVoter(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.RemoveRaftVoterRequest)
	resp := req.ResponseKind().(*kmsg.RemoveRaftVoterResponse)
	err := s.changeVoters(c, req.ClusterID, func(ctx context.Context, node *replication.Node) error {
		if err := s.voterKey(ctx, req.VoterID, req.VoterDirectoryID); err != nil {
			return fmt.Errorf("%w: %w", replication.ErrVoterNotFound, err)
		}
		return node.RemoveVoter(ctx, req.VoterID)
	})
	resp.ErrorCode, resp.ErrorMessage = voterAnswer(c, err)
	return resp, nil
}

var (
	errClusterDenied = &protocolError{codeClusterAuthorizationFailed, textClusterDenied}
	errOtherCluster  = errors.New("the request is for another cluster")
)

func (s *session) changeVoters(c *call, cluster *string, change func(context.Context, *replication.Node) error) error {
	switch {
	case !s.authorizeCluster(opAlter):
		return errClusterDenied
	case cluster != nil && *cluster != s.server.config.ClusterID:
		return errOtherCluster
	}
	return change(c.ctx, s.server.node.node)
}

// voterKey compares a directory id with that of the node, unless either is not known.
func (s *session) voterKey(ctx context.Context, id int32, directory partition.TopicID) error {
	if directory.IsZero() {
		return nil
	}
	nodes, err := s.server.node.node.DescribeCluster(ctx)
	for _, n := range nodes {
		if n.NodeID == id && n.DirectoryID != directory {
			return fmt.Errorf("%w: node %d has %v", errVoterKey, id, partition.TopicID(n.DirectoryID))
		}
	}
	return err
}

func voterAnswer(c *call, err error) (int16, *string) {
	code := codeNone
	switch {
	case err == nil:
		return codeNone, nil
	case errors.Is(err, errClusterDenied):
		code = codeClusterAuthorizationFailed
	case errors.Is(err, errOtherCluster):
		code = codeInconsistentClusterID
	case errors.Is(err, replication.ErrVoterNotFound), errors.Is(err, replication.ErrUnknownNode):
		code = codeVoterNotFound
	case errors.Is(err, replication.ErrDuplicateVoter):
		code = codeDuplicateVoter
	case errors.Is(err, errVoterKey):
		code = codeInvalidVoterKey
	case errors.Is(err, replication.ErrVoterChange):
		code = codeInvalidRequest
	default:
		code = errorCode(err, c.key, c.version)
	}
	return code, kmsg.StringPtr(err.Error())
}
