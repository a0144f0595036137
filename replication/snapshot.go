package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
)

// The state in a snapshot of the quorum:
//
//	version 1 · length of the machine (uvarint) · machine (control.Machine.Snapshot) · shared catalogue (partition.Store.ExportShared)
const stateVersion = 1

func encodeState(m *control.Machine, shared catalogue) []byte {
	machine := m.Snapshot()
	b := append([]byte{stateVersion}, binary.AppendUvarint(nil, uint64(len(machine)))...)
	b = append(b, machine...)
	return append(b, shared.ExportShared()...)
}

var errState = errors.New("malformed state of the quorum")

func decodeState(b []byte) (*control.Machine, []byte, error) {
	if len(b) == 0 || b[0] != stateVersion {
		return nil, nil, fmt.Errorf("%w: it is not of version %d", errState, stateVersion)
	}
	length, n := binary.Uvarint(b[1:])
	if n <= 0 || length > uint64(len(b)-1-n) {
		return nil, nil, errState
	}
	b = b[1+n:]
	m, err := control.Restore(b[:length])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errState, err)
	}
	return m, b[length:], nil
}

const (
	pieceBytes   = 1 << 20          // controller.quorum.fetch.snapshot.max.bytes
	pieceTimeout = 10 * time.Second // for one piece
)

// sendSnapshot sends a message with a whole state, piece by piece, each when the one before has arrived.
func (c *controller) sendSnapshot(m quorum.Message) {
	c.work.Go(func() {
		delivered := true
		for _, piece := range quorum.Split(m.Data, pieceBytes) {
			ctx, cancel := context.WithCancel(c.ctx)
			stop := c.clock.AfterFunc(pieceTimeout, cancel)
			err := c.net.call(ctx, m.To, kindSnapshot, piece, nil)
			stop()
			cancel()
			if err != nil {
				delivered = false
				break
			}
		}
		c.inbox.put(func() { c.raft.ReportSnapshot(m.To, delivered) })
	})
}

// servePiece takes a piece. Nothing is applied before the whole is there.
func (c *controller) servePiece(ctx context.Context, from int32, body []byte) error {
	piece := append([]byte(nil), body...)
	var failed error
	if err := c.do(ctx, func() {
		whole, err := c.pieces.Add(from, piece)
		if err != nil {
			failed = err
		} else if whole != nil {
			c.check(c.raft.Step(from, whole))
		}
	}); err != nil {
		return err // failed is not read: do did not wait for it
	}
	return failed
}
