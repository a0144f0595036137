package group

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// machine is the classic coordinator of one group: a pure function from its state and an event to its next state and
// effects. It has no clock, lock, goroutine or I/O; the shell around it has (see coordinator). State has the picture.
//
// Rules are Kafka's, of GroupMetadataManager's classic protocol; where a comment names a function it is of that class.
type machine struct {
	id     string
	config machineConfig

	state        State
	protocolType string
	protocol     string // empty while there is no generation
	leader       string // member id
	generation   Generation
	since        time.Time // of the generation's record: currentStateTimestamp
	began        time.Time // the rebalance that is going on, or was the last one

	members []*member // in the order of their joining
	byID    map[string]*member
	// instances are the static members by instance id (KIP-345).
	instances map[string]*member
	// pending are member ids that were given out with ErrMemberIDRequired and have not come back: a rebalance
	// waits for them as for members.
	pending map[string]bool

	// initial is set while the first rebalance out of Empty waits for company; waited is the delay that is running,
	// budget what may follow it, and company whether anybody has come during it.
	initial, company bool

	// made: somebody has committed for the group or joined it, so that it is there, although nothing else may be known of it, until
	// it is deleted or expires (Kafka's "simple" groups).
	made           bool
	waited, budget time.Duration

	offsets map[partition.TopicPartition]storedOffset
	// awaited are the offsets of transactions that have not ended, by producer id.
	awaited map[int64]map[partition.TopicPartition]storedOffset
	// overtaken are those of them with a later one of the same producer and partition. That may be of its next transaction: a
	// producer goes on when its commit is decided, and the marker is read later. Invariant: each has its later one in awaited.
	overtaken map[int64][]offsetRecord
	lastAt    partition.Offset // of what is known of the log
	// unwritten are offsets in memory that the log has not taken for want of space; metadataUnwritten says so of the
	// group's own record. Invariant: if there is any, timerRetry is set or a retry is in flight.
	unwritten         map[partition.TopicPartition]bool
	metadataUnwritten bool

	appends    map[appendID]*pendingAppend
	lastAppend appendID
	syncAppend appendID // the leader's assignment on its way to the log, 0 if none

	// next is what there is of a consumer group (KIP-848), nil while the group is a classic one; then the fields above,
	// but for state and offsets, say nothing. converting is set while it changes from one to the other.
	next       *nextgen
	converting *conversion

	now time.Time // of the event that is being stepped
	out []effect
}

// machineConfig is the part of CoordinatorConfig that a machine goes by.
type machineConfig struct {
	initialDelay           time.Duration
	minSession, maxSession time.Duration
	newMember              time.Duration
	maxSize                int
	maxMetadata            int
	retry                  time.Duration
	incarnation            string
	consumer               ConsumerGroupConfig
}

// member is a member of a group.
type member struct {
	id                   string
	instanceID           string // of static members (KIP-345), else empty
	clientID, clientHost string
	local                bool // of this process; it has no session unless it is detached
	detached             bool // its process goes on, or has ended, without it, and it may come back
	session, rebalance   time.Duration
	protocols            []Protocol
	assignment           []byte
	join, sync           callID // parked requests, 0 if none
	isNew                bool   // waits in its first join
	synced               bool   // has sent its sync in this generation
}

// metadata returns what the member says of itself under a protocol.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

type (
	callID   int64  // a request that waits for its answer; 0 is none
	appendID uint64 // records on their way to the log
)

// pendingAppend is what is to be done when the log has answered.
type pendingAppend struct {
	call        callID // of a commit or of nobody
	offsets     []offsetRecord
	refused     map[partition.TopicPartition]error
	assignments map[string][]byte // of a leader's sync
	metadata    bool              // carries the group's own record, before the offsets
	replaced    *replacement      // a static member that waits for it
	retry       bool              // of what there was no space for
	txn         *TxnCommit        // the offsets are pending until its marker
	deleted     bool              // tombstones of the offsets
	group       bool              // with deleted: and of the group
	expired     bool              // with deleted: nobody asked for it
	failed      *error            // with deleted: the first error of all parts, the last of which answers
	changes     *changeBatch      // of a consumer group
}

func newMachine(id string, c machineConfig) *machine {
	return &machine{
		id: id, config: c,
		byID: make(map[string]*member), instances: make(map[string]*member), pending: make(map[string]bool),
		offsets:   make(map[partition.TopicPartition]storedOffset),
		unwritten: make(map[partition.TopicPartition]bool),
		appends:   make(map[appendID]*pendingAppend),
	}
}

// Step takes an event at a time and returns what is to be done. The effects are valid until the next Step.
func (m *machine) Step(now time.Time, e event) []effect {
	m.now, m.out = now, m.out[:0]
	m.step(e)
	return m.out
}

func (m *machine) step(e event) {
	if m.stepNextgen(e) {
		return
	}
	switch e := e.(type) {
	case joinEvent:
		m.stepJoin(e)
	case withdrawEvent:
		m.stepWithdraw(e)
	case syncEvent:
		m.stepSync(e)
	case heartbeatEvent:
		m.answer(e.call, m.heartbeat(e.Membership))
	case leaveEvent:
		m.answer(e.call, m.leave(e.members))
	case commitEvent:
		m.stepCommit(e)
	case deleteGroupEvent:
		m.stepDeleteGroup(e.call)
	case deleteOffsetsEvent:
		m.stepDeleteOffsets(e)
	case expireEvent:
		m.stepExpire(e.retention)
	case markerEvent:
		m.stepMarker(e)
	case timerEvent:
		m.stepTimer(e.timerKey)
	case appendedEvent:
		m.stepAppended(e)
	case forgetEvent:
		m.stepForget(e.partitions)
	case loadedEvent:
		m.stepLoaded()
	case stopEvent:
		m.stepStop(e.err)
	}
}

// blank reports whether nothing is known of the group, so that it might as well not exist.
func (m *machine) blank() bool {
	return !m.made && m.next == nil && m.converting == nil && m.state == Empty && m.generation == 0 && len(m.offsets) == 0 && len(m.pending) == 0 && len(m.appends) == 0 && len(m.awaited) == 0
}

func (m *machine) stepTimer(k timerKey) {
	switch k.kind {
	case timerJoin:
		m.joinTimeout()
	case timerSync:
		m.syncTimeout()
	case timerSession:
		m.sessionTimeout(k.memberID)
	case timerPending:
		if m.pending[k.memberID] {
			delete(m.pending, k.memberID)
			m.maybeCompleteJoin()
		}
	case timerRetry:
		m.retryWrites()
	}
}

// sessionTimeout expires a member, unless it is parked in a request: then it is the coordinator who is late. Only brand
// new members expire in their first join.
func (m *machine) sessionTimeout(id string) {
	member := m.byID[id]
	if member == nil || !member.isNew && (member.join != 0 || member.sync != 0) {
		return
	}
	m.remove(member, "session timed out")
	m.membersRemoved("member " + id + " timed out")
}

// membersRemoved lets the others rebalance after a removal.
func (m *machine) membersRemoved(reason string) {
	switch m.state {
	case Stable, CompletingRebalance:
		m.prepareRebalance(reason)
	case PreparingRebalance:
		m.maybeCompleteJoin()
	}
}

func (m *machine) stepStop(err error) {
	for _, member := range m.members {
		m.answer(member.join, err)
		m.answer(member.sync, err)
		m.emit(endedEffect{member.id})
	}
	for _, a := range m.appends {
		m.answer(a.call, err)
	}
	m.members, m.appends = nil, make(map[appendID]*pendingAppend)
	m.byID, m.instances, m.pending = make(map[string]*member), make(map[string]*member), make(map[string]bool)
	m.state = Dead
}

// add lets a new member in.
func (m *machine) add(member *member) {
	if len(m.members) == 0 && m.leader == "" {
		m.leader = member.id
	}
	m.members = append(m.members, member)
	m.index(member)
}

// index makes a member findable by its names.
func (m *machine) index(member *member) {
	m.byID[member.id] = member
	if member.instanceID != "" {
		m.instances[member.instanceID] = member
	}
}

// remove takes a member out; what it had parked is answered with ErrUnknownMemberID.
func (m *machine) remove(gone *member, reason string) {
	m.stopTimer(timerSession, gone.id)
	m.answer(gone.join, ErrUnknownMemberID)
	m.answer(gone.sync, ErrUnknownMemberID)
	delete(m.byID, gone.id)
	if m.instances[gone.instanceID] == gone {
		delete(m.instances, gone.instanceID)
	}
	for i, member := range m.members {
		if member == gone {
			m.members = append(m.members[:i:i], m.members[i+1:]...)
			break
		}
	}
	if m.leader == gone.id {
		m.leader = ""
		if len(m.members) > 0 {
			m.leader = m.members[0].id
		}
	}
	m.emit(endedEffect{gone.id})
	m.emit(infoEffect{MemberRemovedInfo{Group: m.id, MemberID: gone.id, Reason: reason}})
}

// alive restarts the session of a member. A member of this process has none while it is there: it lives as long as we do.
func (m *machine) alive(member *member, session time.Duration) {
	if !member.local || member.detached {
		m.setTimer(timerSession, member.id, session)
	}
}

// rebalanceTimeout is the longest of the members'.
func (m *machine) rebalanceTimeout() time.Duration {
	var d time.Duration
	for _, member := range m.members {
		d = max(d, member.rebalance)
	}
	return d
}

func (m *machine) emit(e effect) { m.out = append(m.out, e) }

// answer answers a call that may be none.
func (m *machine) answer(call callID, err error) {
	if call != 0 {
		m.emit(answerEffect{call: call, err: err})
	}
}

func (m *machine) setTimer(k timerKind, memberID string, d time.Duration) {
	m.emit(setTimerEffect{timerKey{k, memberID}, d})
}

func (m *machine) stopTimer(k timerKind, memberID string) {
	m.emit(stopTimerEffect{timerKey{k, memberID}})
}

// append sends records to the log, in one batch: all of them will be there, or none.
func (m *machine) append(p *pendingAppend, records []record) appendID {
	m.lastAppend++
	m.appends[m.lastAppend] = p
	m.emit(appendEffect{m.lastAppend, records, p.txn})
	return m.lastAppend
}
