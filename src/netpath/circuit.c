/* SPDX-License-Identifier: Apache-2.0 */
/* The transitions of the table in circuit.h. */
#include "netpath/circuit.h"

static bool probe_is_alive(const struct circuit *circuit, uint64_t now_ms)
{
    return circuit->is_probing && now_ms - circuit->probe_at_ms < CIRCUIT_PROBE_LIFE_MS;
}

bool circuit_admit(struct circuit *circuit, uint64_t now_ms)
{
    if (!circuit->is_open)
        return true;
    if (probe_is_alive(circuit, now_ms) || now_ms < circuit->next_try_ms)
        return false;
    circuit->is_probing = true;
    circuit->probe_at_ms = now_ms;
    return true;
}

void circuit_forget_probe(struct circuit *circuit)
{
    circuit->is_probing = false;
}

bool circuit_answered(struct circuit *circuit)
{
    bool was_open = circuit->is_open;
    *circuit = (struct circuit){0};
    return was_open;
}

static void wait_again(struct circuit *circuit, uint64_t now_ms, uint32_t jitter)
{
    uint64_t pause_ms = circuit->pause_ms * (750 + jitter % 1000 / 2) / 1000;
    circuit->next_try_ms = now_ms + pause_ms;
}

bool circuit_failed(struct circuit *circuit, unsigned points, uint64_t now_ms,
                    uint64_t unix_ms, uint32_t jitter)
{
    if (!circuit->since_unix_ms)
        circuit->since_unix_ms = unix_ms;
    if (circuit->is_open) {
        if (circuit->is_probing) {
            circuit->is_probing = false;
            circuit->pause_ms =
                MIN_OF(2 * circuit->pause_ms, (uint64_t)CIRCUIT_PAUSE_MAX_MS);
            wait_again(circuit, now_ms, jitter);
        }
        return false; /* a call that went out before it opened says nothing new */
    }
    circuit->points += points;
    if (circuit->points < CIRCUIT_POINTS_OPEN)
        return false;
    circuit->is_open = true;
    circuit->pause_ms = CIRCUIT_PAUSE_MIN_MS;
    wait_again(circuit, now_ms, jitter);
    return true;
}

uint64_t circuit_wait_ms(const struct circuit *circuit, uint64_t now_ms)
{
    if (!circuit->is_open)
        return 0;
    if (probe_is_alive(circuit, now_ms))
        return CIRCUIT_PAUSE_MIN_MS;
    return circuit->next_try_ms > now_ms ? circuit->next_try_ms - now_ms : 0;
}
