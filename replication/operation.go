package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// operation is something that one node does for another: arguments and result are JSON, by name, so that nodes of several versions
// understand each other. An operation that a node does not know is ErrUnsupported.
type operation struct {
	name  string
	serve func(ctx context.Context, n *Node, from int32, arguments []byte) (any, error)
}

// operations are all of them, by name.
var operations = map[string]operation{}

// remote is an operation with its types.
type remote[A, R any] struct{ name string }

// define says what an operation does on the node that is asked. It is called by init: what is defined calls others.
func define[A, R any](o remote[A, R], f func(ctx context.Context, n *Node, a A) (R, error)) {
	operations[o.name] = operation{o.name, func(ctx context.Context, n *Node, _ int32, arguments []byte) (any, error) {
		var a A
		if err := json.Unmarshal(arguments, &a); err != nil {
			return nil, fmt.Errorf("arguments of %s: %w", o.name, err)
		}
		return f(ctx, n, a)
	}}
}

type operationRequest struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type operationReply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *wireError      `json:"error,omitempty"`
}

// at has a node do it; this one does it itself.
func (o remote[A, R]) at(ctx context.Context, n *Node, node int32, a A) (result R, err error) {
	if node == n.id {
		r, err := operations[o.name].serve(ctx, n, node, mustJSON(a))
		if typed, ok := r.(R); ok {
			result = typed
		}
		return result, err
	}
	var reply operationReply
	err = n.call(ctx, node, kindOperation, mustJSON(operationRequest{o.name, mustJSON(a)}), func(body []byte) error {
		if err := json.Unmarshal(body, &reply); err != nil {
			return err
		}
		if len(reply.Result) > 0 {
			return json.Unmarshal(reply.Result, &result)
		}
		return nil
	})
	if err != nil {
		return result, err
	}
	return result, reply.Error.err()
}

// serveOperation answers a call of kindOperation.
func (n *Node) serveOperation(ctx context.Context, from int32, body []byte) (peer.Reply, error) {
	var q operationRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return peer.Reply{}, err
	}
	var reply operationReply
	o, known := operations[q.Name]
	if known {
		result, err := o.serve(ctx, n, from, q.Arguments)
		if ctx.Err() != nil {
			return peer.Reply{}, ctx.Err() // see serveAppend
		}
		reply.Error = toWire(err)
		if result != nil {
			reply.Result = mustJSON(result)
		}
	} else {
		reply.Error = toWire(fmt.Errorf("%w: node %d does not know the operation %q", partition.ErrUnsupported, n.id, q.Name))
	}
	return peer.Reply{Pieces: [][]byte{mustJSON(reply)}}, nil
}

// mustJSON encodes what is made of this package's own types.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// call calls a node. Its errors name the node; those of the transport are ErrNodeNotAvailable.
func (n *Node) call(ctx context.Context, node int32, kind uint8, body []byte, reply func([]byte) error) error {
	p := n.peers.Peer(node)
	if p == nil {
		return &NodeError{node, fmt.Errorf("%w: its address is not known", ErrNodeNotAvailable)}
	}
	err := p.Call(ctx, kind, body, reply)
	if err == nil {
		return nil
	}
	if _, not := errors.AsType[*peer.UnreachableError](err); not {
		return &NodeError{node, fmt.Errorf("%w: %w", ErrNodeNotAvailable, err)}
	}
	if _, lost := errors.AsType[*peer.LostError](err); lost {
		return &NodeError{node, fmt.Errorf("%w: %w", ErrNodeNotAvailable, err)}
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	return &NodeError{node, err}
}

// notSent reports whether an error says that a call has not reached the other node.
func notSent(err error) bool {
	_, not := errors.AsType[*peer.UnreachableError](err)
	return not
}
