"""The contract: the 22 documented indexes, by model, as Django itself names them."""

NAMES = {
    "accounts.CustomUser": {
        "accounts_cu_email_5ce40b_idx": ["email"],
        "accounts_cu_usernam_ab560e_idx": ["username"],
        "accounts_cu_is_acti_2885e2_idx": ["is_active"],
        "accounts_cu_role_666d59_idx": ["role"],
    },
    "accounts.OTP": {
        "accounts_ot_user_id_55ce4b_idx": ["user_id"],
        "accounts_ot_is_veri_3f7da9_idx": ["is_verified"],
        "accounts_ot_created_3fc6b2_idx": ["created_at"],
        "accounts_ot_user_id_c5d826_idx": ["user_id", "is_verified"],
    },
    "accounts.Profile": {
        "accounts_pr_user_id_97e401_idx": ["user_id"],
        "accounts_pr_role_fae1f3_idx": ["role"],
        "accounts_pr_joined__5e830d_idx": ["joined_at"],
    },
    "payment.Payment": {
        "payment_pay_status_124d3d_idx": ["status"],
        "payment_pay_payer_i_97dc0f_idx": ["payer_id"],
        "payment_pay_recipie_8a5de9_idx": ["recipient_id"],
        "payment_pay_job_id_cd73ea_idx": ["job_id"],
        "payment_pay_created_671024_idx": ["created_at"],
        "payment_pay_status_19fbf4_idx": ["status", "created_at"],
    },
    "rating.Review": {
        "rating_revi_reviewe_9c4d8d_idx": ["reviewed_id"],
        "rating_revi_reviewe_5427ab_idx": ["reviewer_id"],
        "rating_revi_job_id_8df7f1_idx": ["job_id"],
        "rating_revi_created_9f03da_idx": ["created_at"],
        "rating_revi_reviewe_cce5ea_idx": ["reviewer_id", "reviewed_id", "job_id"],
    },
}

# The 12 that a unique field, a foreign key or a longer index already gives in the marketplace.
REDUNDANT = {
    "accounts_cu_email_5ce40b_idx",  # unique
    "accounts_cu_usernam_ab560e_idx",  # unique
    "accounts_ot_user_id_55ce4b_idx",  # foreign key
    "accounts_pr_user_id_97e401_idx",  # one-to-one
    "payment_pay_status_124d3d_idx",  # prefix of (status, created_at)
    "payment_pay_payer_i_97dc0f_idx",  # foreign key
    "payment_pay_recipie_8a5de9_idx",  # foreign key
    "payment_pay_job_id_cd73ea_idx",  # foreign key
    "rating_revi_reviewe_9c4d8d_idx",  # foreign key
    "rating_revi_reviewe_5427ab_idx",  # foreign key
    "rating_revi_job_id_8df7f1_idx",  # foreign key
    "rating_revi_reviewe_cce5ea_idx",  # unique constraint
}
