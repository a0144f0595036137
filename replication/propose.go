package replication

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
)

// An entry of the quorum's log is a command, and who proposed it:
//
//	version 1 · node (uvarint) · nonce 8 · sequence (uvarint) · command (control.Encode)
//
// By node, nonce (of the process) and sequence the proposer knows its own command when it applies it, whichever controller it went through.
const proposalVersion = 1

func encodeProposal(node int32, nonce, seq uint64, command control.Command) []byte {
	b := []byte{proposalVersion}
	b = binary.AppendUvarint(b, uint64(uint32(node)))
	b = binary.BigEndian.AppendUint64(b, nonce)
	b = binary.AppendUvarint(b, seq)
	return control.Encode(b, command)
}

var errProposal = errors.New("malformed proposal")

func decodeProposal(b []byte) (node int32, nonce, seq uint64, command control.Command, err error) {
	if len(b) < 1 || b[0] != proposalVersion {
		return 0, 0, 0, nil, errProposal
	}
	b = b[1:]
	id, n := binary.Uvarint(b)
	if n <= 0 || id > 1<<32-1 || len(b) < n+8 {
		return 0, 0, 0, nil, errProposal
	}
	nonce = binary.BigEndian.Uint64(b[n:])
	b = b[n+8:]
	seq, n = binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, 0, nil, errProposal
	}
	command, err = control.Decode(b[n:])
	return int32(uint32(id)), nonce, seq, command, err
}

// proposeAnswer is what the controller says to a proposal.
type proposeAnswer struct {
	// Accepted: it is in the controller's log, at Index in Term, and may be committed.
	Accepted bool   `json:"accepted,omitempty"`
	Index    uint64 `json:"index,omitempty"`
	Term     uint64 `json:"term,omitempty"`
	// Code is why it was not proposed; NotController: ask another.
	Code   control.Code `json:"code,omitempty"`
	Detail string       `json:"detail,omitempty"`
}

// propose has the controller, wherever it is, propose a command, and returns its result when this node has applied it. It asks again, with
// the same sequence, until that is so or ctx ends; a command that is asked for twice may be applied twice, and the first result counts.
//
// Errors: ErrNoQuorum, when ctx ends (the command may still be applied if it had been accepted); ErrClosed.
func (c *controller) propose(ctx context.Context, command control.Command) (control.Result, error) {
	seq := c.seq.Add(1)
	w := c.waiting.add(seq)
	defer c.waiting.remove(seq)
	entry := encodeProposal(c.id, c.nonce, seq, command)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		lead := c.lead.Load()
		answer, err := c.ask(ctx, lead.node, entry)
		again := lead.changed
		switch {
		case err != nil:
		case answer.Accepted:
			w.accepted(answer.Index, answer.Term)
			again, pause = nil, minPause
		case answer.Code != control.NotController:
			return control.Result{Code: answer.Code, Detail: answer.Detail}, nil
		default:
			err = ErrNotController
		}
		result, known, e := c.await(ctx, w, again, pause, err)
		if known || e != nil {
			return result, e
		}
	}
}

// await waits for the result of a command: with accepted until it is known, or is known to be lost; without, until another attempt makes sense.
func (c *controller) await(ctx context.Context, w *waiter, again <-chan struct{}, pause time.Duration, failed error) (control.Result, bool, error) {
	var over chan struct{}
	if failed != nil {
		over = make(chan struct{})
		defer c.clock.AfterFunc(pause, func() { close(over) })()
	}
	select {
	case result := <-w.result:
		return result, true, nil
	default:
	}
	select {
	case result := <-w.result:
		return result, true, nil
	case <-w.lost:
	case <-again:
	case <-over:
	case <-c.done:
		return control.Result{}, false, errors.Join(ErrClosed, c.failure())
	case <-ctx.Done():
		if failed != nil {
			return control.Result{}, false, fmt.Errorf("%w: %w", ErrNoQuorum, failed)
		}
		return control.Result{}, false, fmt.Errorf("%w: proposed, and not committed in time: it may still be", ErrNoQuorum)
	}
	return control.Result{}, false, nil
}

// ask proposes an entry at the controller.
func (c *controller) ask(ctx context.Context, leader int32, entry []byte) (answer proposeAnswer, err error) {
	switch leader {
	case -1:
		return answer, ErrNoQuorum
	case c.id:
		var own proposeAnswer // not read when do did not wait for it
		if err = c.do(ctx, func() { own = c.accept(entry) }); err != nil {
			return answer, err
		}
		return own, nil
	}
	err = c.net.call(ctx, leader, kindPropose, entry, func(body []byte) error { return json.Unmarshal(body, &answer) })
	return answer, err
}

// servePropose answers another node's ask.
func (c *controller) servePropose(ctx context.Context, body []byte) ([]byte, error) {
	var answer proposeAnswer
	entry := append([]byte(nil), body...)
	if err := c.do(ctx, func() { answer = c.accept(entry) }); err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// accept proposes an entry, on run's goroutine.
func (c *controller) accept(entry []byte) proposeAnswer {
	if !c.active {
		return proposeAnswer{Code: control.NotController}
	}
	node, nonce, seq, command, err := decodeProposal(entry)
	if err != nil {
		return proposeAnswer{Code: control.InvalidRequest, Detail: err.Error()}
	}
	if r, ok := command.(control.Register); ok {
		own := int32(r.ID) == c.id && node == c.id && nonce == c.nonce
		code := control.OK
		if own {
			r = c.watch.AdmitOwn(r)
		} else {
			r, code = c.watch.Admit(c.now(), r)
		}
		switch code {
		case control.OK:
		case control.DuplicateBrokerRegistration:
			return proposeAnswer{Code: code, Detail: c.machine.Duplicate(r)}
		default:
			return proposeAnswer{Code: code}
		}
		entry = encodeProposal(node, nonce, seq, r)
	}
	index, term, err := c.raft.Propose(entry)
	switch {
	case err == nil:
		return proposeAnswer{Accepted: true, Index: index, Term: term}
	case errors.Is(err, quorum.ErrTooLarge):
		return proposeAnswer{Code: control.InvalidRequest, Detail: err.Error()}
	case errors.Is(err, quorum.ErrFailed):
		c.check(err)
	}
	return proposeAnswer{Code: control.NotController, Detail: err.Error()}
}

// proposeAll proposes what the Watch wants; what is lost it wants again.
func (c *controller) proposeAll(commands []control.Command) {
	for _, command := range commands {
		c.accept(encodeProposal(c.id, c.nonce, 0, command))
	}
}

// waiting are the commands whose results this node's callers wait for.
type waiting struct {
	mu    sync.Mutex
	all   map[uint64]*waiter
	term  uint64 // of the last entry applied
	index uint64
}

// waiter waits for one command. place is where it was accepted; a second acceptance replaces the first, which is lost by then.
type waiter struct {
	waiting *waiting
	result  chan control.Result // room for one
	lost    chan struct{}       // room for one: it is known that it is not applied, or not known whether it was
	known   bool                // the result is there
	place   struct{ index, term uint64 }
}

func (w *waiting) add(seq uint64) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := &waiter{waiting: w, result: make(chan control.Result, 1), lost: make(chan struct{}, 1)}
	w.all[seq] = one
	return one
}

func (w *waiting) remove(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, seq)
}

// accepted notes where a command may come. What is behind already, without the command having come, is lost.
func (one *waiter) accepted(index, term uint64) {
	w := one.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	if one.known {
		return
	}
	one.place.index, one.place.term = index, term
	if w.index >= index || w.term > term {
		one.lose()
	}
}

func (one *waiter) lose() {
	one.place.index, one.place.term = 0, 0
	select {
	case one.lost <- struct{}{}:
	default:
	}
}

// applied says that an entry was applied. A command that was accepted in an earlier term and has not come by now never will: every entry of its
// term that is committed comes before any of a later.
func (w *waiting) applied(index, term, seq uint64, mine bool, result control.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index = index
	if mine && seq != 0 {
		if one := w.all[seq]; one != nil {
			one.known = true
			one.result <- result
			delete(w.all, seq)
		}
	}
	if term == w.term {
		return
	}
	w.term = term
	for _, one := range w.all {
		if one.place.term != 0 && one.place.term < term {
			one.lose()
		}
	}
}

// restored says that entries up to index were passed over by a snapshot.
func (w *waiting) restored(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index = index
	for _, one := range w.all {
		if one.place.term != 0 && one.place.index <= index {
			one.lose()
		}
	}
}
