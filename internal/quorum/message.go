package quorum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Message is to be sent to a node. It may be lost, late, doubled or overtaken: raft sends again what matters.
type Message struct {
	To   int32
	Data []byte
	// Snapshot: Data holds a whole state, and may be large: Split cuts it into pieces that a transport likes. When it has
	// been delivered, or has not, ReportSnapshot has to be called; until then the member is sent nothing else.
	Snapshot bool
}

// encodeMessage wraps a message of raft's.
func encodeMessage(lineage uint64, m *raftpb.Message) ([]byte, error) {
	b := make([]byte, messageHeader, messageHeader+proto.Size(m))
	b[0] = formatVersion
	binary.BigEndian.PutUint64(b[1:], lineage)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(b[9:], messageCRC(b))
	return b, nil
}

func messageCRC(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:9], castagnoli), castagnoli, b[messageHeader:])
}

// decodeMessage unwraps and checks a message.
func decodeMessage(b []byte) (lineage uint64, m *raftpb.Message, err error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("%w: empty", ErrMalformed)
	}
	if b[0] > formatVersion {
		return 0, nil, fmt.Errorf("%w: message of format %d, this program reads up to %d", ErrNewerVersion, b[0], formatVersion)
	}
	if b[0] != formatVersion || len(b) < messageHeader {
		return 0, nil, fmt.Errorf("%w: %d bytes of format %d", ErrMalformed, len(b), b[0])
	}
	if messageCRC(b) != binary.BigEndian.Uint32(b[9:]) {
		return 0, nil, fmt.Errorf("%w: wrong checksum", ErrMalformed)
	}
	lineage = binary.BigEndian.Uint64(b[1:])
	m = &raftpb.Message{}
	if err := proto.Unmarshal(b[messageHeader:], m); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return lineage, m, nil
}

// check refuses what no member sends. raft itself would panic at some of it.
func checkMessage(m *raftpb.Message) error {
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgSnap, raftpb.MsgTimeoutNow:
	default:
		return fmt.Errorf("%w: a member sends no %s", ErrMalformed, m.GetType())
	}
	if m.GetTerm() == 0 {
		return fmt.Errorf("%w: %s without a term", ErrMalformed, m.GetType())
	}
	if len(m.GetResponses()) > 0 {
		return fmt.Errorf("%w: %s with responses", ErrMalformed, m.GetType())
	}
	if (m.GetType() == raftpb.MsgSnap) != (m.GetSnapshot() != nil) {
		return fmt.Errorf("%w: %s, and a snapshot or none", ErrMalformed, m.GetType())
	}
	if m.GetType() == raftpb.MsgSnap {
		meta := m.GetSnapshot().GetMetadata()
		if meta.GetIndex() == 0 || meta.GetTerm() == 0 || meta.GetTerm() > m.GetTerm() || len(meta.GetConfState().GetVoters()) == 0 {
			return fmt.Errorf("%w: snapshot %d of term %d", ErrMalformed, meta.GetIndex(), meta.GetTerm())
		}
		if len(m.GetSnapshot().GetData()) > MaxSnapshotBytes {
			return fmt.Errorf("%w: snapshot of %d bytes", ErrTooLarge, len(m.GetSnapshot().GetData()))
		}
		return checkConf(meta.GetConfState())
	}
	if m.GetType() != raftpb.MsgApp && len(m.GetEntries()) > 0 {
		return fmt.Errorf("%w: %s with entries", ErrMalformed, m.GetType())
	}
	before := place{m.GetIndex(), m.GetLogTerm()}
	for _, e := range m.GetEntries() {
		if e.GetIndex() != before.index+1 || e.GetTerm() < before.term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("%w: entry %d of term %d after %d of term %d", ErrMalformed, e.GetIndex(), e.GetTerm(), before.index, before.term)
		}
		if err := checkEntry(e); err != nil {
			return err
		}
		before = place{e.GetIndex(), e.GetTerm()}
	}
	return nil
}

// checkEntry refuses entries that Propose and ProposeChange do not make.
func checkEntry(e *raftpb.Entry) error {
	if len(e.GetData()) > MaxEntryBytes {
		return fmt.Errorf("%w: entry %d of %d bytes", ErrTooLarge, e.GetIndex(), len(e.GetData()))
	}
	switch e.GetType() {
	case raftpb.EntryNormal:
		return nil
	case raftpb.EntryConfChange:
		_, err := decodeChange(e)
		return err
	}
	return fmt.Errorf("%w: entry %d of kind %s", ErrMalformed, e.GetIndex(), e.GetType())
}

func decodeChange(e *raftpb.Entry) (Change, error) {
	cc := &raftpb.ConfChange{}
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		return Change{}, fmt.Errorf("%w: change of members in entry %d: %w", ErrMalformed, e.GetIndex(), err)
	}
	return changeOf(cc)
}

// Describe returns a message in words, for traces; without checking it.
func Describe(data []byte) string {
	_, m, err := decodeMessage(data)
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%s %s→%s term %d", m.GetType(), nameOf(m.GetFrom()), nameOf(m.GetTo()), m.GetTerm())
	switch m.GetType() {
	case raftpb.MsgApp:
		s += fmt.Sprintf(" after %d/%d", m.GetIndex(), m.GetLogTerm())
		if n := len(m.GetEntries()); n > 0 {
			s += fmt.Sprintf(" entries %d-%d", m.GetEntries()[0].GetIndex(), m.GetEntries()[n-1].GetIndex())
		}
		s += fmt.Sprintf(" commit %d", m.GetCommit())
	case raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgPreVote:
		s += fmt.Sprintf(" index %d", m.GetIndex())
	case raftpb.MsgHeartbeat:
		s += fmt.Sprintf(" commit %d", m.GetCommit())
	case raftpb.MsgSnap:
		s += fmt.Sprintf(" snapshot %d/%d", m.GetSnapshot().GetMetadata().GetIndex(), m.GetSnapshot().GetMetadata().GetTerm())
	}
	if m.GetReject() {
		s += " rejected"
	}
	return s
}

func nameOf(id uint64) string {
	m, of := memberOf(id)
	if !of {
		return "nobody"
	}
	return m.String()
}
