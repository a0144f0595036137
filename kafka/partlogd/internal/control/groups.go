package control

import "net/http"

func (h *Handler) groupRoutes() {
	c := h.cluster
	h.on("POST /v1/groups/{group}/coordinator", func(r *http.Request) (answer, error) {
		id, err := brokerIn(r)
		if err != nil {
			return nil, err
		}
		return nil, c.MoveGroup(r.Context(), r.PathValue("group"), id)
	})
	h.on("POST /v1/transactions/{id}/coordinator", func(r *http.Request) (answer, error) {
		id, err := brokerIn(r)
		if err != nil {
			return nil, err
		}
		return nil, c.MoveTransaction(r.Context(), r.PathValue("id"), id)
	})
	h.on("POST /v1/groups/{group}/rebalance", func(r *http.Request) (answer, error) {
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		return nil, late(c.ForceRebalance(ctx, r.PathValue("group")))
	})
	h.on("DELETE /v1/groups/{group}/members/{member}", func(r *http.Request) (answer, error) {
		return nil, c.RemoveMember(r.Context(), r.PathValue("group"), r.PathValue("member"))
	})
}
