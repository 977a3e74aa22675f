# TorchScript: libtorch compiles these functions as the methods of a module whose attributes script.rs registers; Python
# never runs. The operators are those of model.rs, in its order.


def forward(self, input_ids: Tensor, past_length: int, keys: List[Tensor], values: List[Tensor]) -> Tensor:
    hidden_states = torch.embedding(self.embed_tokens, input_ids)
    cos, sin = self.rotary_emb(hidden_states, past_length)
    mask: Optional[Tensor] = None
    if not self.sdpa:
        mask = self.causal_mask(hidden_states, past_length)
    for layer in range(self.num_hidden_layers):
        residual = hidden_states
        hidden_states = self.rms_norm(hidden_states, self.input_layernorm[layer])
        hidden_states = self.attention(hidden_states, layer, cos, sin, mask, past_length, keys, values)
        hidden_states = residual + hidden_states
        residual = hidden_states
        hidden_states = self.rms_norm(hidden_states, self.post_attention_layernorm[layer])
        hidden_states = self.mlp(hidden_states, layer)
        hidden_states = residual + hidden_states
    hidden_states = self.rms_norm(hidden_states, self.norm)
    if not self.all_logits:
        hidden_states = hidden_states[:, -1:].contiguous()
    return torch.linear(hidden_states, self.lm_head)


def attention(
    self,
    hidden_states: Tensor,
    layer: int,
    cos: Tensor,
    sin: Tensor,
    mask: Optional[Tensor],
    past_length: int,
    keys: List[Tensor],
    values: List[Tensor],
) -> Tensor:
    query = self.heads(torch.linear(hidden_states, self.q_proj[layer]))
    key = self.heads(torch.linear(hidden_states, self.k_proj[layer]))
    value = self.heads(torch.linear(hidden_states, self.v_proj[layer]))
    query = self.apply_rotary_pos_emb(query, cos, sin)
    key = self.apply_rotary_pos_emb(key, cos, sin)
    key = self.update(keys, layer, past_length, key)
    value = self.update(values, layer, past_length, value)
    if self.sdpa:
        is_causal = query.size(2) > 1
        output = torch.scaled_dot_product_attention(
            query, key, value, None, 0.0, is_causal, scale=self.scaling, enable_gqa=self.num_key_value_groups > 1
        )
    else:
        output = self.eager_attention_forward(query, key, value, mask)
    output = output.transpose(1, 2).contiguous()
    output = output.reshape([hidden_states.size(0), hidden_states.size(1), -1])
    return self.sum_over_ranks(torch.linear(output, self.o_proj[layer]))


def heads(self, states: Tensor) -> Tensor:
    return states.view([states.size(0), states.size(1), -1, self.head_dim]).transpose(1, 2)


def update(self, cache: List[Tensor], layer: int, past_length: int, states: Tensor) -> Tensor:
    if self.static_cache:
        new_length = states.size(2)
        cache[layer].narrow(2, past_length, new_length).copy_(states)
        return cache[layer].narrow(2, 0, past_length + new_length)
    cache[layer] = torch.cat([cache[layer], states], dim=2)
    return cache[layer]


def eager_attention_forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor]) -> Tensor:
    key = self.repeat_kv(key)
    value = self.repeat_kv(value)
    weights = torch.matmul(query, key.transpose(2, 3)) * self.scaling
    if mask is not None:
        weights = weights + mask
    weights = torch.softmax(weights, dim=-1, dtype=self.inv_freq.dtype).to(query.dtype)
    return torch.matmul(weights, value)


def repeat_kv(self, states: Tensor) -> Tensor:
    repeats = self.num_key_value_groups
    if repeats == 1:
        return states
    batch_size, num_key_value_heads, length, head_dim = states.size(0), states.size(1), states.size(2), states.size(3)
    states = states.unsqueeze(2).expand([batch_size, num_key_value_heads, repeats, length, head_dim])
    return states.reshape([batch_size, num_key_value_heads * repeats, length, head_dim])


def mlp(self, hidden_states: Tensor, layer: int) -> Tensor:
    gate = torch.silu(torch.linear(hidden_states, self.gate_proj[layer]))
    up = torch.linear(hidden_states, self.up_proj[layer])
    return self.sum_over_ranks(torch.linear(gate * up, self.down_proj[layer]))


def sum_over_ranks(self, terms: Tensor) -> Tensor:
    if self.has_ranks:
        return llama2_bench.all_reduce_(terms)
    return terms


def rms_norm(self, hidden_states: Tensor, weight: Tensor) -> Tensor:
    input_dtype = hidden_states.dtype
    hidden_states = hidden_states.to(self.inv_freq.dtype)
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
    return weight * hidden_states.to(input_dtype)


def rotary_emb(self, hidden_states: Tensor, past_length: int) -> Tuple[Tensor, Tensor]:
    position_ids = self.positions(past_length, past_length + hidden_states.size(1))
    freqs = position_ids.unsqueeze(0).unsqueeze(-1).to(self.inv_freq.dtype) * self.inv_freq
    emb = torch.cat([freqs, freqs], dim=-1)
    return emb.cos().to(hidden_states.dtype), emb.sin().to(hidden_states.dtype)


def apply_rotary_pos_emb(self, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return states * cos.unsqueeze(1) + self.rotate_half(states) * sin.unsqueeze(1)


def rotate_half(self, states: Tensor) -> Tensor:
    half = states.size(3) // 2
    return torch.cat([-states[:, :, :, half:], states[:, :, :, :half]], dim=-1)


def causal_mask(self, hidden_states: Tensor, past_length: int) -> Tensor:
    batch_size, length = hidden_states.size(0), hidden_states.size(1)
    queries = self.positions(past_length, past_length + length).unsqueeze(-1)
    keys = self.positions(0, past_length + length)
    attends = (keys <= queries).expand([batch_size, 1, length, past_length + length])
    zero = torch.zeros([], dtype=hidden_states.dtype, device=hidden_states.device)
    return torch.where(attends, zero, self.lowest)


def positions(self, start: int, end: int) -> Tensor:
    return torch.arange(start, end, device=self.inv_freq.device)
